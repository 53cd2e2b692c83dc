from tests.mutants import Mutant

TESTS = "tests/agents/test_planning_agent.py"

MUTANTS = [
    Mutant("rules_foresee_a_piece", "rules_simulator", "not peek", "False"),
]
