TESTS = "tests/agents/test_agent.py"

MUTANTS = []
