from tests.mutants import Mutant

TESTS = "tests/reporting/test_curves.py"

MUTANTS = [
    Mutant("curves_hide_single_points", "draw", '"o" if len(curve.value) == 1 else None', "None"),
    Mutant("curves_of_every_panel", "shown_panels", "known & {panel.metric, panel.evaluation}", "known"),
    Mutant(
        "curves_mean_beyond_the_shorter_run",
        "at_common_steps",
        "min(curve.step[-1] for curve in curves)",
        "max(curve.step[-1] for curve in curves)",
    ),
    Mutant(
        "curves_band_of_the_deviation",
        "mean_curve",
        "np.std(values, axis=0, ddof=1) / len(curves) ** 0.5",
        "np.std(values, axis=0, ddof=1)",
    ),
]
