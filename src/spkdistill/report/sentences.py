"""What the numbers say, in sentences: no claim without a test, no difference where there may be none."""

from collections import Counter
from statistics import fmean

from spkdistill.report.contents import Comparison, Metrics, Report, System
from spkdistill.report.numbers import count, percent, points, probability

SIGNIFICANT = 0.05
LOWER, HIGHER, NO_DIFFERENCE = (
    "significantly lower EER",
    "significantly higher EER",
    "no significant difference",
)


def run_sentence(report: Report) -> str:
    """How many models, back-ends and trials there are."""
    settings = report.settings
    roles = [model.role for model in settings.models.values()]
    models = [plural(roles.count(role), role) for role in ("teacher", "student") if role in roles]
    backends = plural(len(settings.backends), "back-end")
    return (
        f"{' and '.join(models)}, each scored with {backends} ({', '.join(settings.backends)}) "
        f"on {plural(len(settings.trials), 'trial list')} ({', '.join(settings.trials)})."
    )


def trials_sentences(report: Report, trials: str) -> list[str]:
    """What a trial list shows: its size, the teachers, the best student and its tests, the tally of all."""
    any_system = next(iter(report.settings.models)), next(iter(report.settings.backends)), trials
    metrics = report.metrics[any_system]
    told = [
        f"{metrics.trials:,} trials, {metrics.targets:,} of them targets, of {metrics.speakers:,} speakers."
    ]
    told += [teacher_sentence(report, name, trials) for name in report.ranked(trials, "teacher")]
    for name in report.ranked(trials, "student")[:1]:
        told += [student_sentence(report, name, trials), *test_sentences(report, name, trials)]
    return [*told, *tally_sentences(report, trials)]


def teacher_sentence(report: Report, name: str, trials: str) -> str:
    """A teacher's size and EER."""
    system, size = report.best(name, trials), count(report.costs[name].parameters)
    eer = rate(report.of(system, trials))
    return f"Teacher {name} ({size} parameters without its head): EER {eer} with {system.backend}."


def student_sentence(report: Report, name: str, trials: str) -> str:
    """The best student's size and EER, a mean where it was trained with several seeds."""
    group, reduction = report.settings.models[name].group, report.reduction(name)
    system = report.best_of_group(group, trials)
    size = f"{count(report.costs[name].parameters)} parameters"
    if reduction:
        size += (
            f", {shrinkage(reduction[0])} than the teacher, {shrinkage(reduction[1])} if its head is counted"
        )
    eers = report.seed_eers(system, trials)
    if len(eers) == 1:
        eer = rate(report.of(System(name, system.backend), trials))
        return f"Best student, {name} ({size}): EER {eer} with {system.backend}."
    told = f"{percent(fmean(eers))}, {percent(min(eers))} to {percent(max(eers))} with {len(eers)} seeds"
    return f"Best student, {group} ({size}): mean EER {told}, with {system.backend}."


def test_sentences(report: Report, name: str, trials: str) -> list[str]:
    """The paired tests of a student against its teacher and against itself without one."""
    settings = report.settings.models[name]
    system = System(name, report.best_of_group(settings.group, trials).backend)
    confidence = report.of(system, trials).confidence
    called = f"{settings.group} (mean over its seeds)" if report.several(settings.group) else name
    baselines = (settings.teacher, "its teacher"), (settings.baseline, "the same student without a teacher")
    return [
        comparison_sentence(report.comparison(trials, system, other), called, f"{words}, {other}", confidence)
        for other, words in baselines
        if other is not None
    ]


def comparison_sentence(test: Comparison | None, name: str, against: str, confidence: float) -> str:
    """One paired test in words."""
    if test is None:
        return f"{name} was not tested against {against}."
    interval = f"{points(test.difference.low)} to {points(test.difference.high)}"
    return (
        f"{name} against {against} (EER {percent(test.eer_baseline)}): {verdict(test)}, "
        f"{points(test.difference.value)} points, {percent(confidence, 0)} interval {interval}, "
        f"{probability(test.p_value)}, Holm-adjusted {probability(test.p_holm)}."
    )


def tally_sentences(report: Report, trials: str) -> list[str]:
    """How many students differ from the same student without a teacher, each with its best back-end."""
    verdicts = []
    for group in report.groups:
        first = report.members(group)[0]
        backend, other = report.best_of_group(group, trials).backend, report.settings.models[first].baseline
        if other is not None:
            test = report.comparison(trials, System(first, backend), other)
            verdicts += [verdict(test)] if test else []
    if len(verdicts) < 2:
        return []
    told = ", ".join(f"{number} {kind}" for kind, number in Counter(sorted(verdicts)).items())
    return [f"All {len(verdicts)} distilled students, each against itself without a teacher: {told}."]


def verdict(test: Comparison) -> str:
    """Whether the difference can be told from chance at the 5 % level after Holm, and its direction if so."""
    if test.p_holm >= SIGNIFICANT:
        return NO_DIFFERENCE
    return LOWER if test.difference.value < 0 else HIGHER


def caveat(report: Report) -> str:
    """What the intervals and the tests do not cover."""
    metrics = next(iter(report.metrics.values()))
    samples = f"{metrics.bootstrap_samples:,} samples, a number of their own in paired tests"
    several = any(map(report.several, report.groups))
    seeds = ", but in paired tests of students with several seeds" if several else ""
    text = (
        f"Intervals are {percent(metrics.confidence, 0)} bootstrap intervals over speakers ({samples}). They "
        f"cover the choice of the speakers, not the randomness of training{seeds}. The best back-end and the "
        "best student are chosen on the trials that they are shown for, which favours them a little."
    )
    families = Counter((test.trials, test.system.backend) for test in report.model_tests)
    if families:
        text += (
            f" A difference is significant at a Holm-adjusted p below {SIGNIFICANT}, adjusted for the "
            f"{max(families.values())} tests of a trial list with a back-end: if no model differed from "
            f"another, any of them would be significant with a chance of {percent(SIGNIFICANT, 0)} at most."
        )
        if len(families) > 1:
            text += f" That there are {len(families)} such groups of tests is not corrected for."
    return text


def rate(metrics: Metrics) -> str:
    """An EER with its interval."""
    return f"{percent(metrics.eer.value)} ({100 * metrics.eer.low:.2f} to {100 * metrics.eer.high:.2f})"


def shrinkage(share: float) -> str:
    """A reduction in words, also where it is none."""
    return f"{percent(share, 1)} smaller" if share >= 0 else f"{percent(-share, 1)} larger"


def plural(number: int, noun: str) -> str:
    """A count with its noun."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
