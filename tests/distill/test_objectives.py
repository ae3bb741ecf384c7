"""The losses equal loops over examples in float64, satisfy their identities, and survive extreme logits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from extreme_logits import batches, first_infinite, margined
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.distill.curriculum import tau_at
from spkdistill.distill.losses import (
    cosine_distance,
    dist,
    dkd,
    gkd,
    kd,
    squared_distance,
    standardised,
    triage,
)
from spkdistill.distill.objectives import Moment, build_objective, build_objectives
from spkdistill.distill.partition import confusion_set
from spkdistill.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

T = 4.0
LOGITS = {
    "temperature": 4,
    "weight": 1.0,
    "classification_weight": 1.0,
    "warmup_epochs": 0,
    "kd_logits": "plain",
}
KD = {**LOGITS, "objective": "kd", "standardise": False}
DKD = {**KD, "objective": "dkd", "alpha": 1, "beta": 8}
TAU = {"start": 1.0, "end": 0.05, "from": 0.067, "to": 0.4, "unit": "training", "gamma": 0.001}
TRKD = {
    **LOGITS,
    "objective": "trkd",
    "lambda_m": 1,
    "lambda_f": 8,
    "lambda_b": 0,
    "mass_term": "tmkd",
    "class_term": "cfkd",
    "tau": TAU,
    "mass": "renormalised",
    "t_squared": True,
}


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
    groups = triage(student, teacher, labels, T, tau, mass)
    terms = T**2 * groups.tmkd().mean(), T**2 * groups.within_confusion.mean()
    actual = [*terms, groups.size.double().mean(), *groups.log_p.exp().mean(0)]
    if tau == 1.0:
        mass = "renormalised"  # tau = 1 is every non-target whatever the mass
        tau = 2.0  # rounding of the loop's sum must not end it early
    assert [value.item() for value in actual] == pytest.approx(
        loop_trkd(student, teacher, labels, tau, mass), rel=1e-9
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(2, 40),
    st.floats(0.01, 30),
    st.floats(0.01, 1),
    st.sampled_from(["renormalised", "absolute"]),
    st.sampled_from([1.0, T]),
)
def test_divergences_add_up_to_kd(seed, classes, scale, tau, mass, temperature):
    """KL(p||q) = TCKD + (1-p_y) NCKD = TMKD + p_F CFKD + p_B BGKD, to 1e-6 for each example."""
    student, teacher, labels = logits(batch=1, classes=classes, seed=seed, scale=scale)
    whole = kd(student, teacher, temperature) / temperature**2
    tckd, nckd = (term / temperature**2 for term in dkd(student, teacher, labels, temperature))
    p_y = torch.softmax(teacher / temperature, 1)[0, labels[0]]
    torch.testing.assert_close(tckd + (1 - p_y) * nckd, whole, rtol=1e-7, atol=1e-10)

    groups = triage(student, teacher, labels, temperature, tau, mass, background=True)
    _, p_confusion, p_background = groups.log_p.exp()[0]
    inside = p_confusion * groups.within_confusion + p_background * groups.within_background
    torch.testing.assert_close((groups.tmkd() + inside)[0], whole, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(groups.tckd()[0], tckd, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(groups.nckd()[0], nckd, rtol=1e-7, atol=1e-10)
    least = min(groups.tmkd(), groups.within_confusion, groups.within_background, tckd, nckd)
    assert least > -1e-10


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["renormalised", "absolute"]))
def test_tau_of_one_is_dkd(seed, mass):
    student, teacher, labels = logits(seed=seed)
    settings_ = {**TRKD, "mass": mass, "tau": 1.0}
    loss, terms = build_objective(settings_, "distil")(student, teacher, labels, Moment(1, 0.1))
    expected, dkd_terms = build_objective(DKD, "distil")(student, teacher, labels, Moment(1, 0.1))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms["tmkd"], dkd_terms["tckd"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms["cfkd"], dkd_terms["nckd"], rtol=1e-9, atol=1e-12)
    assert terms["confusion_size"].item() == student.shape[1] - 1
    assert terms["p_background"].item() == 0


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_the_ablation_is_between_dkd_and_trkd(tau):
    student, teacher, labels = logits(batch=9, classes=50)
    losses = {
        terms: build_objective({**TRKD, "tau": tau, "mass_term": terms[0], "class_term": terms[1]}, "distil")(
            student, teacher, labels, Moment(1, 0.1)
        )[1]
        for terms in (("tckd", "nckd"), ("tmkd", "nckd"), ("tckd", "cfkd"), ("tmkd", "cfkd"))
    }
    tckd, nckd = dkd(student, teacher, labels, T)
    groups = triage(student, teacher, labels, T, tau)
    expected = {"tckd": tckd, "nckd": nckd, "tmkd": T**2 * groups.tmkd().mean()}
    expected["cfkd"] = T**2 * groups.within_confusion.mean()
    for terms, found in losses.items():
        for term in terms:
            torch.testing.assert_close(found[term], expected[term])


def test_every_term_of_trkd_has_its_weight_and_its_square_of_the_temperature():
    student, teacher, labels = logits(batch=9, classes=50)
    whole = {**TRKD, "tau": 0.5, "lambda_m": 2, "lambda_f": 3, "lambda_b": 5}
    loss, terms = build_objective(whole, "distil")(student, teacher, labels, Moment(1, 0.1))
    expected = 2 * terms["tmkd"] + 3 * terms["cfkd"] + 5 * terms["bgkd"]
    torch.testing.assert_close(loss, expected)
    unscaled, _ = build_objective({**whole, "t_squared": False}, "distil")(
        student, teacher, labels, Moment(1, 0.1)
    )
    torch.testing.assert_close(unscaled * T**2, loss)
    groups = triage(student, teacher, labels, T, 0.5, background=True)
    torch.testing.assert_close(terms["bgkd"], T**2 * groups.within_background.mean())


def chosen(p, label, tau):
    """Members of the confusion set of one example with posterior p over all classes, in order."""
    others = torch.tensor([p], dtype=torch.float64)
    others[0, label] = 0
    members, count = confusion_set(
        others / others.sum(), torch.tensor([tau], dtype=torch.float64), torch.tensor([label])
    )
    if members.dtype == torch.int64:
        members = torch.zeros(1, len(p)).scatter(1, members, 1)
    assert members.sum() == count[0]
    return members[0].nonzero().flatten().tolist()


def test_the_crossing_class_is_in_the_confusion_set():
    p = [0.5, 0.25, 0.15, 0.1]
    assert chosen(p, 0, 0.4) == [1]
    assert chosen(p, 0, 0.51) == [1, 2]
    assert chosen(p, 0, 0.79) == [1, 2]
    assert chosen(p, 0, 0.81) == [1, 2, 3]
    assert chosen([0.5, 0.25, 0.125, 0.125], 0, 0.5) == [1]  # reached exactly
    assert chosen(p, 0, 1e-17) == [1]  # less than a unit of mass


def test_equal_non_targets_are_taken_in_the_order_of_their_classes():
    assert chosen([0.2] * 5, 2, 0.4) == [0, 1]
    assert chosen([0.01] * 100, 2, 0.04) == [0, 1, 3, 4]


def test_ties_are_broken_row_by_row():
    """Posteriors of three levels: nearly every row's set ends among equal classes."""
    levels = torch.randint(1, 4, (50, 30), generator=torch.Generator().manual_seed(1)).double()
    labels = torch.arange(50) % 30
    wanted = torch.linspace(0.02, 0.98, 50, dtype=torch.float64)
    others = levels.scatter(1, labels.unsqueeze(1), 0)
    others /= others.sum(1, keepdim=True)
    members, count = confusion_set(others.clone(), wanted, labels)
    if members.dtype == torch.int64:
        members = torch.zeros_like(others).scatter(1, members, 1).scatter(1, labels.unsqueeze(1), 0)
    for row, size, label, of in zip(members, count.tolist(), labels.tolist(), others, strict=True):
        ranked = sorted((j for j in range(30) if j != label), key=lambda j: (-of[j].item(), j))
        assert row.nonzero().flatten().tolist() == sorted(ranked[:size])


@pytest.mark.parametrize("tau", [0.05, 0.5, 0.99])
def test_no_sum_depends_on_its_order_which_a_gpu_refuses(tau, monkeypatch):
    """torch.use_deterministic_algorithms refuses cumulative sums of floats on a GPU."""
    cumsum = torch.Tensor.cumsum

    def exact(values, *arguments):
        assert not values.dtype.is_floating_point
        return cumsum(values, *arguments)

    monkeypatch.setattr(torch.Tensor, "cumsum", exact)
    student, teacher, labels = logits(classes=200)
    assert triage(student.float(), teacher.float(), labels, T, tau).within_confusion.isfinite().all()


def test_a_set_is_the_same_found_among_few_and_among_all():
    """Up to tau 0.2 ten of the 80 classes are sorted, above it as many as a sample of them says."""
    random = np.random.default_rng(0)
    p = random.dirichlet(np.full(80, 0.3))
    for tau in (0.01, 0.2, 0.6, 0.99):
        near, _ = loop_partition(p.tolist(), 7, tau, "renormalised")
        assert chosen(p.tolist(), 7, tau) == sorted(near)


def test_a_sample_that_misleads_costs_time_and_no_member():
    """One of the sampled classes has half of the mass, so that the sample is content with 48 of 800."""
    p = np.random.default_rng(0).dirichlet(np.full(800, 5.0)) / 2
    p[32] += 0.5
    near, _ = loop_partition(p.tolist(), 7, 0.8, "renormalised")
    assert len(near) > 300
    assert chosen(p.tolist(), 7, 0.8) == sorted(near)


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_a_group_that_underflows_beside_the_other_is_compared_all_the_same(shift):
    student, teacher, labels = logits(batch=9, classes=30)
    rows = [posterior(row, T) for row in teacher.tolist()]
    for row, (p, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
        student[row, loop_partition(p, label, 0.9, "renormalised")[0]] += shift
    student, teacher = student.float(), teacher.float()
    groups = triage(student, teacher, labels, T, 0.9)
    found = [(T**2 * values.mean()).item() for values in (groups.tmkd(), groups.within_confusion)]
    assert found == pytest.approx(loop_trkd(student, teacher, labels, 0.9, "renormalised")[:2], rel=1e-4)


def numpy_posterior(z, temperature):
    """softmax(z / T) of (batch, classes), float64."""
    e = np.exp((z - z.max(1, keepdims=True)) / temperature)
    return e / e.sum(1, keepdims=True)


def numpy_kl(p, q):
    """KL(p || q) of (batch, classes): (batch,)."""
    return (p * np.log(p / q)).sum(1)


def without(values, labels):
    """(batch, classes) without each row's label, (batch, classes - 1)."""
    return np.stack([np.delete(row, label) for row, label in zip(values, labels, strict=True)])


def numpy_dkd(student, teacher, labels, temperature):
    """TCKD and NCKD, means over the batch."""
    p, q = numpy_posterior(teacher, temperature), numpy_posterior(student, temperature)
    rows = np.arange(len(labels))
    p_y, q_y = p[rows, labels], q[rows, labels]
    tckd = p_y * np.log(p_y / q_y) + (1 - p_y) * np.log((1 - p_y) / (1 - q_y))
    nckd = numpy_kl(without(p, labels) / (1 - p_y)[:, None], without(q, labels) / (1 - q_y)[:, None])
    return tckd.mean(), nckd.mean()


def arrays(**options):
    """Logits and labels as tensors and as numpy arrays."""
    tensors = logits(**options)
    return tensors, [tensor.numpy() for tensor in tensors]


def test_nte_equals_its_formula():
    tensors, (student, teacher, labels) = arrays(classes=30)
    settings_ = {**LOGITS, "objective": "nte", "gamma": 2, "temperature": 1, "warmup_epochs": 20}
    loss, _ = build_objective(settings_, "distil")(*tensors, Moment(5, 0.1))
    tckd, nckd = numpy_dkd(student, teacher, labels, 1.0)
    assert loss.item() == pytest.approx(0.25 * (tckd + 2 * nckd), rel=1e-9)


@pytest.mark.parametrize("size", [2, 3, 20])
def test_gkd_equals_its_formula(size):
    tensors, (student, teacher, labels) = arrays(classes=40)
    settings_ = {**LOGITS, "objective": "gkd", "alpha": 3, "beta": 8, "size": size}
    loss, terms = build_objective(settings_, "distil")(*tensors, Moment(1, 0.1))
    p, q = numpy_posterior(teacher, T), numpy_posterior(student, T)
    primary, inner = [], []
    for row, label in enumerate(labels):
        others = sorted((c for c in range(40) if c != label), key=lambda c: -p[row, c])
        group = [label, *others[: size - 1]]
        masses = [
            np.array([values[row, group].sum(), values[row, others[size - 1 :]].sum()]) for values in (p, q)
        ]
        primary.append((masses[0] * np.log(masses[0] / masses[1])).sum())
        a, b = (values[row, group] / values[row, group].sum() for values in (p, q))
        inner.append((a * np.log(a / b)).sum())
    assert terms["group_masses"].item() == pytest.approx(T**2 * np.mean(primary), rel=1e-9)
    assert terms["within_group"].item() == pytest.approx(T**2 * np.mean(inner), rel=1e-9)
    assert loss.item() == pytest.approx(T**2 * (3 * np.mean(primary) + 8 * np.mean(inner)), rel=1e-9)


@pytest.mark.parametrize("objective", [KD, DKD])
def test_standardised_logits_have_mean_0_and_deviation_1(objective):
    tensors, (student, teacher, labels) = arrays(classes=30)
    loss, _ = build_objective({**objective, "standardise": True}, "distil")(*tensors, Moment(1, 0.1))
    student, teacher = (
        (z - z.mean(1, keepdims=True)) / (z.std(1, ddof=1, keepdims=True) + 1e-7) for z in (student, teacher)
    )
    if objective is KD:
        expected = numpy_kl(numpy_posterior(teacher, T), numpy_posterior(student, T)).mean()
    else:
        tckd, nckd = numpy_dkd(student, teacher, labels, T)
        expected = tckd + 8 * nckd
    assert loss.item() == pytest.approx(T**2 * expected, rel=1e-9)


def test_dist_equals_its_formula():
    tensors, (student, teacher, _) = arrays(classes=30)
    settings_ = {**LOGITS, "objective": "dist", "beta": 2, "gamma": 3}
    loss, terms = build_objective(settings_, "distil")(*tensors, Moment(1, 0.1))
    p, q = numpy_posterior(teacher, T), numpy_posterior(student, T)
    rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    columns = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    assert terms["inter_class"].item() == pytest.approx(T**2 * (1 - rows), rel=1e-9)
    assert loss.item() == pytest.approx(T**2 * (2 * (1 - rows) + 3 * (1 - columns)), rel=1e-9)


def test_embeddings_are_compared_by_direction_or_values():
    student, target = torch.randn(2, 6, 5, dtype=torch.float64)
    pairs = zip(student.numpy(), target.numpy(), strict=True)
    cosines = [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    expected = {"cosine": 1 - np.mean(cosines), "mse": ((student - target).numpy() ** 2).mean()}
    for distance, value in expected.items():
        settings_ = {"objective": "embedding", "weight": 1, "classification_weight": 1}
        settings_ |= {"targets": ["xvector"], "targets_of": "view", "distance": distance}
        loss, _ = build_objective(settings_, "distil")([student], target, None, Moment(1, 0.1))
        assert loss.item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("mass", ["renormalised", "absolute"])
def test_the_last_tau_leaves_half_of_the_views_no_larger_a_set(mass):
    _, teacher, labels = logits(batch=201, classes=60)
    tau = {**TAU, "end": {"classes": 7}}
    fitted = build_objective({**TRKD, "mass": mass, "tau": tau}, "distil").ending(teacher, labels)
    sizes = triage(teacher, teacher, labels, T, tau_at(1.0, fitted.tau), mass).size
    assert sizes.median() == 7
    assert (triage(teacher, teacher, labels, T, 1.001 * tau_at(1.0, fitted.tau), mass).size > 7).sum() > 100
    share = build_objective({**TRKD, "mass": mass, "tau": {**TAU, "end": {"share": 7 / 59}}}, "distil")
    assert share.ending(teacher, labels).tau.end == fitted.tau.end
    assert replace(share, kept=7).ending(teacher, labels).tau.end == fitted.tau.end
    with pytest.raises(ConfigError, match=r"tau\.end: 7 classes, but the cache has the 6 largest others"):
        replace(share, kept=6).ending(teacher, labels)


def test_a_curriculum_may_be_in_epochs():
    student, teacher, labels = logits()
    tau = {**TAU, "from": 10, "to": 60, "unit": "epochs"}
    objective = build_objective({**TRKD, "tau": tau}, "distil")
    for epoch, expected in ((5, 1.0), (15, 0.526), (70, 0.051)):
        _, terms = objective(student, teacher, labels, Moment(epoch, 0.99))
        assert terms["tau"].item() == pytest.approx(expected, abs=6e-4)


def term(name, tau, mass="renormalised"):
    """A term of TRKD as a function of the student, the teacher and the labels."""
    return lambda s, t, y: getattr(triage(s, t, y, T, tau, mass, background=True), name)().mean()


LOSSES = {
    "kd": lambda s, t, y: kd(s, t, T),
    "tckd": lambda s, t, y: dkd(s, t, y, T)[0],
    "nckd": lambda s, t, y: dkd(s, t, y, T)[1],
    "lskd": lambda s, t, y: kd(standardised(s), standardised(t), T),
    "lskd on dkd": lambda s, t, y: sum(dkd(standardised(s), standardised(t), y, T)),
    "kd with margins": lambda s, t, y: kd(margined(s, y), margined(t, y), T),
    "gkd primary": lambda s, t, y: gkd(s, t, y, T, 2)[0],
    "gkd inner": lambda s, t, y: gkd(s, t, y, T, 2)[1],
    "dist inter": lambda s, t, y: dist(s, t, T)[0],
    "dist intra": lambda s, t, y: dist(s, t, T)[1],
    "tmkd": lambda s, t, y: triage(s, t, y, T, 0.3).tmkd().mean(),
    "cfkd": lambda s, t, y: triage(s, t, y, T, 0.3, "absolute").within_confusion.mean(),
    "bgkd": lambda s, t, y: triage(s, t, y, T, 0.3, background=True).within_background.mean(),
    "tmkd without background": lambda s, t, y: triage(s, t, y, T, 1.0).tmkd().mean(),
    "tckd of groups": term("tckd", 0.3),
    "nckd of groups": term("nckd", 0.3),
    "cosine": lambda s, t, y: cosine_distance(s, t),
    "mse": lambda s, t, y: squared_distance(s, t),
}


OF_COLUMNS = "gkd primary", "gkd inner", "tmkd", "cfkd", "bgkd", "tckd of groups", "nckd of groups"


@pytest.mark.parametrize(
    ("name", "classes"), [*((name, 5) for name in LOSSES), *((name, 40) for name in OF_COLUMNS)]
)
def test_gradients_agree_with_finite_differences(name, classes):
    """Of 5 classes the confusion set is a mask, of 40 it is columns where it is small."""
    student, teacher, labels = logits(batch=3, classes=classes)
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
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_random_batches_of_extreme_logits_in_bfloat16_give_finite_losses_and_gradients():
    """`python tests/distill/extreme_logits.py` takes 10,000 of 18,000 classes."""
    for batch in batches(20, 3_000):
        assert first_infinite(*batch) is None


@pytest.mark.parametrize("name", LOSSES)
def test_float32_is_as_good_as_float64(name):
    student, teacher, labels = logits(batch=16, classes=200)
    single = LOSSES[name](student.float(), teacher.float(), labels)
    assert single.item() == pytest.approx(LOSSES[name](student, teacher, labels).item(), rel=2e-5)


def test_the_cosine_distance_is_one_minus_the_mean_cosine():
    student, target, _ = logits()
    x, y = student.numpy(), target.numpy()
    cosine = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    assert cosine_distance(student, target).item() == pytest.approx(1 - cosine.mean(), rel=1e-12)


def test_the_cosine_distance_is_zero_for_parallel_and_two_for_opposite_vectors():
    student = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert cosine_distance(student, 5 * student).item() == pytest.approx(0, abs=1e-6)
    assert cosine_distance(student, -student).item() == pytest.approx(2, abs=1e-6)


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
        ({**KD, "kd_logits": "angular"}, r"distil\.kd_logits: expected plain or margin"),
        ({**TRKD, "tau": {"start": 1}}, r"distil\.tau\.end: this setting is missing"),
        ({**KD, "kd_logits": "margin"}, r"distil\.kd_logits: margin needs the teacher's aam head"),
        (
            {**KD, "kd_logits": "margin", "teacher_head": {"kind": "softmax", "hidden": 5}},
            r"distil\.kd_logits: margin needs the teacher's aam head",
        ),
        (
            {**KD, "kd_logits": "margin", "teacher_head": {"kind": "aam", "scale": 32}},
            r"distil\.teacher_head\.margin: this setting is missing",
        ),
    ],
)
def test_wrong_settings_are_named(distil, message):
    with pytest.raises(ConfigError, match=message):
        build_objective(distil, "distil")


def test_none_is_no_objective():
    assert build_objectives({"objective": "none"}, "distil") == ()
