# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests/run.py makes of programs that pass, fail, crash, hang or stop early."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import run      # noqa: E402

UNITTEST_FILE = '''
import unittest
class Case(unittest.TestCase):
    def test_1_passes(self): pass
    def test_2_fails(self): self.fail('on purpose')
    def test_3_raises(self): raise OSError('on purpose')
    @unittest.skip('no reason')
    def test_4_is_skipped(self): pass
    def test_5_fails_in_two_subtests(self):
        for i in range(3):
            with self.subTest(i=i): self.assertEqual(i, 1)
        self.fail('on purpose')
class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError('on purpose')
    def test_never_runs(self): pass
'''


class RunTest(unittest.TestCase):
    def check(self, script, passed=0, failed=0, skipped=0, complaint=None, **options):
        program = run.Program(name='program', command=['sh', '-c', script],
                              **{'timeout_seconds': 60, **options})
        report = run.run(program)
        self.assertEqual((report.passed, report.failed, report.skipped),
                         (passed, failed, skipped), report)
        self.assertIn(complaint or '', ' '.join(report.complaints))
        self.assertEqual(bool(complaint), bool(report.complaints))

    def test_tap_cases_are_counted_one_by_one(self):
        self.check('echo 1..3; echo ok 1 /a; echo not ok 2 /b; echo "ok 3 /c # SKIP no d"; exit 1',
                   passed=1, failed=1, skipped=1)

    def test_nested_cases_do_not_count(self):
        self.check('echo "    ok 1 - inner"; echo ok 1 /a; echo 1..1', passed=1)

    def test_plan_of_nothing_is_a_skip(self):
        self.check('echo "1..0 # SKIP no KVM"', skipped=1)

    def test_plan_of_nothing_without_a_reason_fails(self):
        self.check('echo 1..0', failed=1, complaint='no case ran')

    def test_missing_cases_fail(self):
        self.check('echo 1..3; echo ok 1 /a', passed=1, failed=1, complaint='after 1 of 3')

    def test_missing_plan_fails(self):
        self.check('echo ok 1 /a', passed=1, failed=1, complaint='without a TAP plan')

    def test_silence_fails(self):
        self.check('true', failed=1, complaint='without a TAP plan')

    def test_bad_exit_after_good_cases_fails(self):
        self.check('echo 1..1; echo ok 1 /a; exit 3', passed=1, failed=1, complaint='status 3')

    def test_crash_fails_and_names_the_signal(self):
        self.check('echo 1..2; echo ok 1 /a; kill -SEGV $$', passed=1, failed=1,
                   complaint='SIGSEGV')

    def test_hang_is_killed_with_its_children(self):
        start = time.monotonic()
        self.check('echo 1..1; sleep 300 & sleep 300', failed=1, complaint='no end after 1 s',
                   timeout_seconds=1)
        self.assertLess(time.monotonic() - start, 60)

    def test_programs_of_a_suite_run_at_the_same_time(self):
        """Each waits for the other one."""
        with tempfile.TemporaryDirectory() as folder:
            script = 'touch {0}; while [ ! -e {1} ]; do sleep 0.01; done'
            programs = [run.Program(name, ['sh', '-c', script.format(*files)], 60, tap=False,
                                    directory=Path(folder))
                        for name, files in (('a', ('1', '2')), ('b', ('2', '1')))]
            with unittest.mock.patch.object(run, 'JOBS', 2), \
                    contextlib.redirect_stdout(io.StringIO()) as said:
                counts = run.run_suite(programs)
        self.assertEqual((counts['passed'], counts['failed']), (2, 0), said.getvalue())

    def test_cases_and_loops_of_a_live_program_are_shown(self):
        program = run.Program('p', ['sh', '-c', 'echo "# moves: 5 rounds, 3 counts (SEED=1)";'
                                    'echo "#   all around"; echo ok 1 /a; echo 1..1'], 60,
                              live=True)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(run.run(program).passed, 1)
        self.assertEqual(said.getvalue().splitlines(),
                         ['    # moves: 5 rounds, 3 counts (SEED=1)', '    ok 1 /a'])

    def test_effort_gives_programs_with_machines_more_time(self):
        for programs in run.machine_programs, run.functional_programs:
            with unittest.mock.patch.dict(os.environ, EFFORT='1'):
                once = programs()
            with unittest.mock.patch.dict(os.environ, EFFORT='3'):
                thrice = programs()
            self.assertEqual([3 * program.timeout_seconds for program in once],
                             [program.timeout_seconds for program in thrice])

    def test_interrupted_suite_leaves_nothing_behind(self):
        programs = [run.Program('sleeper', ['sh', '-c', 'sleep 300 & sleep 300'], 600, tap=False),
                    run.Program('never', ['true'], 60, tap=False)]
        start = time.monotonic()
        with unittest.mock.patch.object(run, 'JOBS', 1), \
                unittest.mock.patch.object(run, 'as_completed', side_effect=KeyboardInterrupt), \
                self.assertRaises(KeyboardInterrupt):
            run.run_suite(programs)
        self.assertLess(time.monotonic() - start, 60)

    def test_missing_program_fails(self):
        report = run.run(run.Program(name='p', command=['/nonexistent/p'], timeout_seconds=60))
        self.assertEqual(report.failed, 1)

    def test_plain_program_counts_by_its_exit_status(self):
        self.check('true', passed=1, tap=False)
        self.check('exit 77', skipped=1, tap=False)
        self.check('exit 1', failed=1, complaint='exit status 1', tap=False)

    def test_python_cases_come_out_as_tap(self):
        with tempfile.NamedTemporaryFile('w', prefix='test_', suffix='.py') as file:
            file.write(UNITTEST_FILE)
            file.flush()
            self.check(f'exec {sys.executable} {TESTS}/tap.py {file.name}',
                       passed=1, failed=4, skipped=1)

    def test_python_file_that_does_not_load_fails(self):
        with tempfile.NamedTemporaryFile('w', prefix='test_', suffix='.py') as file:
            file.write('import nonexistent_module\n')
            file.flush()
            self.check(f'exec {sys.executable} {TESTS}/tap.py {file.name}',
                       failed=1, complaint='exit status 1')

    def test_last_line_has_the_totals_and_unknown_suites_are_refused(self):
        command = [sys.executable, TESTS / 'run.py']
        unknown = subprocess.run([*command, 'nonesuch'], capture_output=True, text=True)
        self.assertEqual(unknown.returncode, 2)
        self.assertIn('nonesuch', unknown.stderr)
        code = ('import sys, run\n'
                'statuses = sys.argv.pop().split(",")\n'
                'programs = [run.Program(s, ["sh", "-c", "exit " + s], 60, tap=False)\n'
                '            for s in statuses]\n'
                'run.SUITES = {"suite": (lambda: programs, "description")}\n'
                'sys.exit(run.main())\n')
        for statuses, last, status in (('0', '1 passed, 0 failed, 0 skipped', 0),
                                       ('0,1,77', '1 passed, 1 failed, 1 skipped', 1),
                                       ('77', '0 passed, 0 failed, 1 skipped', 1)):
            result = subprocess.run([sys.executable, '-c', code, statuses], cwd=TESTS,
                                    capture_output=True, text=True)
            self.assertEqual(result.stdout.splitlines()[-1], last)
            self.assertEqual(result.returncode, status)


if __name__ == '__main__':
    unittest.main()
