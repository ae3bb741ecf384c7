"""The losses equal loops over examples in float64, satisfy their identities, and survive extreme logits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.distill import objectives
from spkdistill.distill.objectives import Moment, build_objective, dkd, kd, multilevel, trkd
from spkdistill.errors import ConfigError

T = 4.0
KD = {"objective": "kd", "temperature": 4, "weight": 1.0, "classification_weight": 1.0, "warmup_epochs": 0}
DKD = {**KD, "objective": "dkd", "alpha": 1, "beta": 8, "warmup_epochs": 0}
TAU = {"start": 1.0, "end": 0.05, "from": 0.067, "to": 0.4, "gamma": 0.001}
TRKD = {
    **KD,
    "objective": "trkd",
    "lambda_m": 1,
    "lambda_f": 8,
    "tau": TAU,
    "mass": "renormalised",
    "warmup_epochs": 0,
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def logits(batch=7, classes=12, seed=0, scale=6.0):
    """Student and teacher logits and labels, float64; not every label is the teacher's highest class."""
    random = np.random.default_rng(seed)
    student, teacher = torch.from_numpy(random.normal(size=(2, batch, classes)) * scale)
    return student, teacher, torch.from_numpy(random.integers(classes, size=batch))


def posterior(row, temperature):
    """softmax of one row of logits, as a list of Python floats."""
    exponents = [math.exp((value - max(row)) / temperature) for value in row]
    return [value / sum(exponents) for value in exponents]


def kl(p, q):
    """KL(p || q) of two short lists."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def normalised(values):
    """The values divided by their sum."""
    return [value / sum(values) for value in values]


def loop_partition(p, y, tau, mass):
    """The confusion set of one example by walking down the sorted non-targets."""
    order = sorted((j for j in range(len(p)) if j != y), key=lambda j: (-p[j], j))
    scale = 1 - p[y] if mass == "renormalised" else 1.0
    chosen, total = [], 0.0
    for j in order:
        chosen.append(j)
        total += p[j] / scale
        if total >= tau:
            break
    return chosen, [j for j in order if j not in chosen]


def loop_trkd(student, teacher, labels, tau, mass):
    """T^2 TMKD, T^2 CFKD, T^2 BGKD p_B and the mean sizes, by a loop over examples."""
    rows = []
    for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        p, q = posterior(t, T), posterior(s, T)
        near, far = loop_partition(p, y, tau, mass)
        groups = [[y], near, far] if far else [[y], near]
        masses = [[sum(values[j] for j in group) for group in groups] for values in (p, q)]
        within = kl(normalised([p[j] for j in near]), normalised([q[j] for j in near]))
        rows.append([T**2 * kl(*masses), T**2 * within, len(near), *(masses[0] + [0.0])[:3]])
    return np.mean(rows, axis=0)


def test_kd_is_the_divergence_of_the_softened_posteriors():
    student, teacher, _ = logits()
    expected = [
        T**2 * kl(posterior(t, T), posterior(s, T))
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    assert kd(student, teacher, T).item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_dkd_equals_a_loop():
    student, teacher, labels = logits()
    tckd, nckd = [], []
    for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        p, q = posterior(t, T), posterior(s, T)
        tckd.append(T**2 * kl([p[y], 1 - p[y]], [q[y], 1 - q[y]]))
        nckd.append(T**2 * kl(normalised(p[:y] + p[y + 1 :]), normalised(q[:y] + q[y + 1 :])))
    actual = dkd(student, teacher, labels, T)
    assert [value.item() for value in actual] == pytest.approx([np.mean(tckd), np.mean(nckd)], rel=1e-10)


@pytest.mark.parametrize("mass", ["renormalised", "absolute"])
@pytest.mark.parametrize("tau", [1e-6, 0.05, 0.5, 0.9, 1.0])
def test_trkd_equals_a_loop(tau, mass):
    student, teacher, labels = logits(batch=40)
    tmkd, cfkd, sizes = trkd(student, teacher, labels, T, tau, mass)
    actual = [tmkd, cfkd, *sizes.values()]
    if tau == 1.0:
        mass = "renormalised"  # tau = 1 is every non-target whatever the mass
        tau = 2.0  # rounding of the loop's sum must not end it early
    assert [value.item() for value in actual] == pytest.approx(
        loop_trkd(student, teacher, labels, tau, mass), rel=1e-9
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 9), st.floats(0.01, 30), st.floats(0.01, 1))
def test_divergences_add_up_to_kd(seed, classes, scale, tau):
    """KL(p||q) = TCKD + (1-p_y) NCKD = TMKD + p_F CFKD + p_B BGKD, one example at a time."""
    student, teacher, labels = logits(batch=1, classes=classes, seed=seed, scale=scale)
    whole = kd(student, teacher, T)
    tckd, nckd = dkd(student, teacher, labels, T)
    p_y = torch.softmax(teacher / T, 1)[0, labels[0]]
    torch.testing.assert_close(tckd + (1 - p_y) * nckd, whole, rtol=1e-7, atol=1e-10)

    tmkd, cfkd, sizes = trkd(student, teacher, labels, T, tau, "renormalised")
    log_p, log_q = objectives.log_posterior(teacher, T), objectives.log_posterior(student, T)
    target = objectives.target_mask(labels, log_p)
    background = ~(target | objectives.confusion_set(log_p, target, tau, "renormalised"))
    bgkd = T**2 * objectives.group_divergence(log_p, log_q, background)[0] if background.any() else 0
    total = tmkd + sizes["p_confusion"] * cfkd + sizes["p_background"] * bgkd
    torch.testing.assert_close(total, whole, rtol=1e-7, atol=1e-10)
    assert min(tmkd, cfkd, tckd, nckd) > -1e-10


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["renormalised", "absolute"]))
def test_tau_of_one_is_dkd(seed, mass):
    student, teacher, labels = logits(seed=seed)
    tmkd, cfkd, sizes = trkd(student, teacher, labels, T, 1.0, mass)
    tckd, nckd = dkd(student, teacher, labels, T)
    torch.testing.assert_close(tmkd, tckd, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(cfkd, nckd, rtol=1e-9, atol=1e-12)
    assert sizes["confusion_size"].item() == student.shape[1] - 1
    assert sizes["p_background"].item() == 0


def test_the_crossing_class_is_in_the_confusion_set():
    p = torch.tensor([[0.5, 0.25, 0.15, 0.1]], dtype=torch.float64)
    target = torch.tensor([[True, False, False, False]])
    members = {
        tau: objectives.confusion_set(p.log(), target, tau, "renormalised")[0].tolist()
        for tau in (0.4, 0.51, 0.79, 0.81)
    }
    assert members[0.4] == [False, True, False, False]
    assert members[0.51] == [False, True, True, False]
    assert members[0.79] == [False, True, True, False]
    assert members[0.81] == [False, True, True, True]
    assert objectives.confusion_set(p.log(), target, 0.3, "absolute")[0].tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_equal_non_targets_are_taken_in_the_order_of_their_classes():
    log_p = torch.full((1, 5), math.log(0.2), dtype=torch.float64)
    target = torch.tensor([[False, False, True, False, False]])
    chosen = objectives.confusion_set(log_p, target, 0.4, "renormalised")[0]
    assert chosen.tolist() == [True, True, False, False, False]


LOSSES = {
    "kd": lambda s, t, y: kd(s, t, T),
    "tckd": lambda s, t, y: dkd(s, t, y, T)[0],
    "nckd": lambda s, t, y: dkd(s, t, y, T)[1],
    "tmkd": lambda s, t, y: trkd(s, t, y, T, 0.3, "renormalised")[0],
    "cfkd": lambda s, t, y: trkd(s, t, y, T, 0.3, "absolute")[1],
    "tmkd without background": lambda s, t, y: trkd(s, t, y, T, 1.0, "renormalised")[0],
    "multilevel": lambda s, t, y: multilevel(s, t),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name):
    student, teacher, labels = logits(batch=3, classes=5)
    student.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, teacher, labels), (student,))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_give_finite_losses_and_gradients(name, dtype):
    teacher = torch.tensor([[1e4, -1e4, 0, 3], [-1e4, 1e4, 1e4, 1e4], [0, 0, 0, 0]]).to(dtype)
    student = (
        torch.tensor([[-1e4, 1e4, 0, 0], [1e4, -1e4, 0, 0], [1e4, 0, 0, -1e4]]).to(dtype).requires_grad_(True)
    )
    loss = LOSSES[name](student, teacher, torch.tensor([0, 0, 1]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_float32_is_as_good_as_float64(name):
    student, teacher, labels = logits(batch=16, classes=200)
    single = LOSSES[name](student.float(), teacher.float(), labels)
    assert single.item() == pytest.approx(LOSSES[name](student, teacher, labels).item(), rel=2e-5)


def test_multilevel_is_one_minus_the_mean_cosine():
    student, target, _ = logits()
    x, y = student.numpy(), target.numpy()
    cosine = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    assert multilevel(student, target).item() == pytest.approx(1 - cosine.mean(), rel=1e-12)


def test_multilevel_is_zero_for_parallel_and_two_for_opposite_vectors():
    student = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert multilevel(student, 5 * student).item() == pytest.approx(0, abs=1e-6)
    assert multilevel(student, -student).item() == pytest.approx(2, abs=1e-6)


def test_objectives_weigh_their_terms_and_warm_up():
    student, teacher, labels = logits()
    loss, terms = build_objective({**DKD, "warmup_epochs": 20}, "distil")(
        student, teacher, labels, Moment(5, 0.1)
    )
    assert loss.item() == pytest.approx(0.25 * (terms["tckd"] + 8 * terms["nckd"]).item())
    loss, terms = build_objective(TRKD, "distil")(student, teacher, labels, Moment(5, 0.5))
    assert loss.item() == pytest.approx((terms["tmkd"] + 8 * terms["cfkd"]).item())
    assert terms["tau"].item() == pytest.approx(0.05095)
    assert {"confusion_size", "p_target", "p_confusion", "p_background"} < terms.keys()


@pytest.mark.parametrize(
    ("distil", "message"),
    [
        ({"objective": "fitnet"}, r"distil\.objective: 'fitnet' is unknown"),
        ({**KD, "alpha": 1}, r"distil\.alpha: no such setting"),
        ({**TRKD, "mass": "relative"}, r"distil\.mass"),
        ({**TRKD, "tau": {"start": 1}}, r"distil\.tau\.end: this setting is missing"),
    ],
)
def test_wrong_settings_are_named(distil, message):
    with pytest.raises(ConfigError, match=message):
        build_objective(distil, "distil")


def test_no_objective_is_none():
    assert build_objective({"objective": "none"}, "distil") is None
