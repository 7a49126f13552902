#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the unittest cases of Python files and report them as TAP, as they end.

usage: tap.py FILE...
"""

import importlib.util
import sys
import unittest
from pathlib import Path


class TAPResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.count = 0
        self.failed_subtests = False

    def report(self, status, test, directive=''):
        self.count += 1
        print(f'{status} {self.count} {test.id()}{directive}', flush=True)

    def report_failure(self, test, error):
        """A case counts once, however many of its subtests fail before it."""
        if not self.failed_subtests:
            self.report('not ok', test)
        self.explain(test, error)

    def explain(self, test, error):
        for line in self._exc_info_to_string(error, test).splitlines():
            print(f'# {line}', flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.failed_subtests = False

    def addSuccess(self, test):
        super().addSuccess(test)
        self.report('ok', test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report_failure(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.report_failure(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report('ok', test, f' # SKIP {reason}')

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.report('ok', test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.report('not ok', test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is None:
            return
        self.report_failure(subtest, err)
        self.failed_subtests = True


def load(path):
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def main():
    suite = unittest.TestSuite(load(Path(name).resolve()) for name in sys.argv[1:])
    result = TAPResult()
    suite.run(result)
    print(f'1..{result.count}')
    return 0 if result.wasSuccessful() else 1


if __name__ == '__main__':
    sys.exit(main())
