"""The report's section on targets says what the analysis file says."""

import json
import re
from xml.etree import ElementTree

import pytest

from spkdistill.errors import DataError
from spkdistill.report.analysis import analysis, heat_maps, write_heat_maps
from spkdistill.report.inputs import read_analysis
from spkdistill.report.page import write_analysis_page

PARTS = {"xvector": 192, "wide_bn": 1500, "layer:2": 256}
PAIRS = {  # cka, correlation, R^2 of the first from the second, of the second from the first
    ("xvector", "wide_bn"): (0.81, 0.71, 0.991, 0.902),
    ("xvector", "layer:2"): (0.34, 0.24, -0.12, 0.203),
    ("wide_bn", "layer:2"): (0.56, 0.46, 0.604, 0.502),
}


@pytest.fixture
def path(tmp_path):
    """An analysis of three parts."""
    parts = [
        {"part": part, "dim": dim, "effective_rank": dim / 4, "participation_ratio": dim / 10}
        | {"between_speaker_share": 0.625}
        for part, dim in PARTS.items()
    ]
    pairs = [
        {"parts": list(names), "cka": cka, "canonical_correlation": correlation, "r2": r2}
        for names, (cka, correlation, *r2) in PAIRS.items()
    ]
    path = tmp_path / "analysis.json"
    path.write_text(json.dumps({"views": 7600, "speakers": 190, "folds": 5, "parts": parts, "pairs": pairs}))
    return path


def section(path) -> str:
    """The section of a report with this analysis of the teacher <big>."""
    return str(analysis({"<big>": read_analysis(path)})).replace("\u00a0", " ")


def rows(text: str) -> list[list[str]]:
    """The cells of the tables' rows, without markup."""
    found = re.findall(r"<tr>(<td.*?)</tr>", text)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", row)] for row in found]


def test_tables_show_each_part_and_the_pairs_from_redundant_to_complementary(path):
    shown = rows(section(path))
    assert shown[1] == ["wide_bn", "1,500", "375.0", "150.0", "62.5 %"]
    assert [row[:2] for row in shown[3:]] == [
        ["xvector", "wide_bn"],
        ["wide_bn", "layer:2"],
        ["xvector", "layer:2"],
    ]
    assert shown[3][2:] == ["0.810", "0.710", "0.991", "0.902"]


def test_sentences_name_the_extreme_pairs_and_who_predicts_whom(path):
    told = section(path)
    assert "Teacher &lt;big&gt;, 7,600 views of 190 speakers" in told
    redundant, complementary = re.findall(r"<p>(Most .*?)</p>", told)
    assert redundant.startswith("Most redundant: xvector and wide_bn (CKA 0.81).")
    assert (
        "wide_bn predicts 99.1 % of the variance of xvector, and xvector 90.2 % of that of wide_bn"
        in redundant
    )
    assert complementary.startswith("Most complementary: xvector and layer:2 (CKA 0.34).")
    assert "layer:2 predicts 0.0 % of the variance of xvector" in complementary  # worse than the mean


def test_heat_maps_have_rows_predicted_from_columns(path):
    image = heat_maps("<big>", read_analysis(path))
    assert 'aria-label="What the targets of &lt;big&gt; have in common"' in image
    texts = re.findall(r"<text[^>]*>(-?\d\.\d\d)</text>", image.replace("\N{MINUS SIGN}", "-"))
    values = [float(text) for text in texts]
    assert len(values) == 3 * 9
    assert values[:9] == [1, 0.81, 0.34, 0.81, 1, 0.56, 0.34, 0.56, 1]
    assert values[18:] == [1, 0.99, -0.12, 0.9, 1, 0.6, 0.2, 0.5, 1]


def test_an_analysis_has_a_page_and_a_plot_of_its_own(path, tmp_path):
    found = read_analysis(path)
    write_analysis_page("<big>", found, tmp_path / "page.html")
    write_heat_maps("<big>", found, tmp_path / "plot.svg")
    page = (tmp_path / "page.html").read_text()
    assert "<title>&lt;big&gt;: speaker-verification distillation</title>" in page
    assert section(path) in page.replace("\u00a0", " ")
    assert not re.search(r"(src|href)=", page)
    assert ElementTree.parse(tmp_path / "plot.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_one_part_has_a_table_alone(path):
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"parts": data["parts"][:1], "pairs": []}))
    told = section(path)
    assert len(rows(told)) == 1
    assert not re.search(r"<svg|Most |<details", told)


def test_a_run_without_an_analysis_has_no_section():
    assert analysis({}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["pairs"].pop(), "expected each two of the parts as a pair"),
        (
            lambda data: data["pairs"][1].update(parts=["wide_bn", "xvector"]),
            "expected each two of the parts",
        ),
        (
            lambda data: data["pairs"][1].update(parts=["xvector", ["layer:2"]]),
            "expected each two of the parts",
        ),
        (lambda data: data["pairs"][0].update(r2=[0.5]), ":pairs: expected two parts and two values of r2"),
        (
            lambda data: data["pairs"][0].update(cka=None),
            ":pairs: 'cka' should be a finite number, found null",
        ),
        (lambda data: data["parts"][0].pop("dim"), ":parts: 'dim' is missing"),
        (lambda data: data["parts"][0].update(between_speaker_share=2), "should be a fraction from 0 to 1"),
        (lambda data: data.update(parts={}), "'parts' should be list, found {}"),
    ],
)
def test_malformed_analyses_are_refused(path, change, message):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=re.escape(message)):
        read_analysis(path)
