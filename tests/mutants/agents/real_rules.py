from tests.mutants import Mutant

TESTS = "tests/agents/test_real_rules.py"

MUTANTS = [
    Mutant("rules_foresee_a_piece", "rules_model", "not peek", "False"),
]
