from tests.mutants import Mutant

TESTS = "tests/config/test_presets.py"

MUTANTS = [
    Mutant("dreamerv3_leans_on_its_base", "dreamerv3", 'reward_head="twohot"', ""),
]
