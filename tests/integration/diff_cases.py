def run_cases(pair, fresh, only):
    return 0
