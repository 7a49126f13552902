# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/run.py handles runners whose tests pass, fail, crash, hang or do not run."""

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

# Other folders have a run.py, too.
SPEC = importlib.util.spec_from_file_location('tests_run', TESTS / 'run.py')
run = importlib.util.module_from_spec(SPEC)
sys.modules['tests_run'] = run
SPEC.loader.exec_module(run)

UNITTEST_FILE = '''
import os
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
    def test_6_ends_its_process(self): os._exit(0)
class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError('on purpose')
    def test_never_runs(self): pass
'''

REPORT = '<testsuites><testsuite name="a.b">{}</testsuite></testsuites>'
GOOD, BAD, SKIPPED = '<testcase/>', '<testcase><failure/></testcase>', \
    '<testcase><skipped/></testcase>'


class RunnerTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='runner-')
        self.addCleanup(directory.cleanup)
        self.folder = Path(directory.name)
        self.said = io.StringIO()

    def script(self, script, cases=None):
        """A runner, in shell, that reports these cases, if any."""
        report = self.folder / 'report.xml'
        if cases is not None:
            (self.folder / 'ready.xml').write_text(REPORT.format(cases))
            script = f'cp {self.folder}/ready.xml {report}; {script}'
        return run.Run('runner', ['sh', '-c', script], report)

    def check(self, called, passed=0, failed=0, skipped=0, said=''):
        with contextlib.redirect_stdout(self.said):
            counts = run.judge(called, run.call(called))
        self.assertEqual((counts['passed'], counts['failed'], counts['skipped']),
                         (passed, failed, skipped), self.said.getvalue())
        self.assertIn(said, self.said.getvalue())


class CallTest(RunnerTest):
    def test_cases_are_counted_one_by_one(self):
        self.check(self.script('exit 1', GOOD * 2 + BAD + SKIPPED), passed=2, failed=1, skipped=1)

    def test_case_that_fails_twice_is_one(self):
        self.check(self.script('exit 1', '<testcase><failure/><failure/><error/></testcase>'),
                   failed=1)

    def test_bad_exit_without_a_failed_case_fails(self):
        self.check(self.script('exit 3', GOOD), passed=1, failed=1, said='status 3 though')

    def test_crash_of_the_runner_fails(self):
        self.check(self.script('kill -SEGV $$', GOOD), passed=1, failed=1, said='status -11')

    def test_runner_without_a_report_fails(self):
        self.check(self.script('true'), failed=1, said='no report')

    def test_report_of_an_earlier_run_does_not_count(self):
        called = self.script('true')
        called.report.write_text(REPORT.format(GOOD))
        self.check(called, failed=1, said='no report')

    def test_report_that_is_cut_short_fails(self):
        called = self.script(f'echo "<testsuites>" > {self.folder}/report.xml')
        self.check(called, failed=1, said='no report')

    def test_runner_that_ran_nothing_fails(self):
        self.check(self.script('true', ''), failed=1, said='no case ran')

    def test_missing_runner_fails(self):
        self.check(run.Run('r', ['/nonexistent/r'], self.folder / 'report.xml'), failed=1)

    def test_what_it_says_is_shown_as_it_comes(self):
        """The first line is shown before the runner writes the second."""
        fifo = self.folder / 'fifo'
        os.mkfifo(fifo)

        def show(*words, **_):
            print(*words, file=self.said)
            if 'one' in words[0]:
                fifo.write_text('go')

        with unittest.mock.patch.object(run, 'print', show, create=True):
            self.check(self.script(f'echo one; cat {fifo} > /dev/null; echo two', GOOD), passed=1)
        self.assertEqual(self.said.getvalue().split(), ['one', 'two'])

    def test_long_silence_is_broken(self):
        with unittest.mock.patch.object(run, 'SILENCE_SECONDS', 0.1):
            self.check(self.script('sleep 1', GOOD), passed=1, said='... runner runs, 0 min so far')

    def test_runner_that_hangs_is_ended(self):
        start = time.monotonic()
        with unittest.mock.patch.object(run, 'SILENCE_SECONDS', 0.1), \
                unittest.mock.patch.object(run, 'HANG_SECONDS', 0.3):
            self.check(self.script('sleep 300', GOOD), passed=1, failed=1, said='runner: hangs')
        self.assertLess(time.monotonic() - start, 60)

    def test_interrupted_call_leaves_nothing_behind(self):
        called = self.script(f'trap "" TERM; sleep 300 & echo $! > {self.folder}/pid; sleep 300')
        start = time.monotonic()
        with unittest.mock.patch.object(run, 'show_output', side_effect=self.interrupt), \
                unittest.mock.patch.object(run, 'END_SECONDS', 0.5), \
                self.assertRaises(KeyboardInterrupt):
            run.call(called)
        self.assertLess(time.monotonic() - start, 60)
        pid = (self.folder / 'pid').read_text().strip()
        # The kernel ends a killed process when it gets round to it.
        while self.is_alive(pid) and time.monotonic() - start < 60:
            time.sleep(0.01)
        self.assertFalse(self.is_alive(pid))

    @staticmethod
    def is_alive(pid):
        try:
            return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
        except (FileNotFoundError, ProcessLookupError):
            return False

    def interrupt(self, *_):
        while not (self.folder / 'pid').exists() or not (self.folder / 'pid').read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt


class MesonTest(RunnerTest):
    def check_programs(self, programs, *arguments, **counts):
        """Shell scripts as tests of a project; those whose names begin with tap use TAP."""
        lines = ["project('a')", "sh = find_program('sh')"]
        for name, script in programs.items():
            protocol = 'tap' if name.startswith('tap') else 'exitcode'
            (self.folder / f'{name}.sh').write_text(script)
            lines.append(f"test('{name}', sh, args: files('{name}.sh'), protocol: '{protocol}',"
                         " timeout: 1)")
        (self.folder / 'meson.build').write_text('\n'.join(lines))
        build = self.folder / 'build'
        environment = {**os.environ, 'PYTHONPATH': str(run.MESON)}
        subprocess.run([run.PYTHON, '-m', 'mesonbuild.mesonmain', 'setup', build, self.folder],
                       env=environment, check=True, stdout=subprocess.DEVNULL)
        patience = counts.pop('patience', 60)
        self.check(run.meson('logs', build, *arguments, patience=patience), **counts)

    def test_cases_of_tap_and_programs_are_counted(self):
        self.check_programs({'tap-all': 'echo 1..2; echo ok 1 /a; echo "ok 2 /c # SKIP no d"',
                             'tap-bad': 'echo 1..2; echo ok 1 /a; echo not ok 2 /b; exit 1',
                             'tap-none': 'echo "1..0 # SKIP no KVM"',
                             'good': 'true', 'skips': 'exit 77', 'bad': 'echo words; exit 1'},
                            passed=3, failed=2, skipped=3, said='words')

    def test_program_that_fails_after_good_cases_is_one_more(self):
        self.check_programs({'tap-exit': 'echo 1..1; echo ok 1 /a; exit 3',
                             'tap-crash': 'echo 1..2; echo ok 1 /a; kill -SEGV $$',
                             'tap-short': 'echo 1..3; echo ok 1 /a',
                             'crash': 'kill -SEGV $$'},
                            passed=3, failed=4, said='tap-crash')

    def test_program_that_says_nothing_or_skips_without_a_reason_is_one_more(self):
        self.check_programs({'tap-silent': 'true', 'tap-empty': 'echo 1..0', 'good': 'true'},
                            passed=1, failed=2, skipped=2, said='tap-silent: SKIP')

    def test_hang_is_ended_and_fails(self):
        start = time.monotonic()
        self.check_programs({'tap-hangs': 'echo 1..2; echo ok 1 /a; sleep 300 & sleep 300',
                             'hangs': 'sleep 300', 'good': 'true'},
                            passed=2, failed=2, patience=1)
        self.assertLess(time.monotonic() - start, 60)

    def test_names_that_no_test_has_fail(self):
        self.check_programs({'good': 'true'}, 'nonesuch', failed=1)


class PytestTest(RunnerTest):
    def check_file(self, text, **counts):
        (self.folder / 'test_file.py').write_text(text)
        with unittest.mock.patch.object(run, 'REPORTS', self.folder):
            self.check(run.pytest('report', str(self.folder), jobs=2), **counts)

    def test_cases_are_counted_and_a_lost_process_is_one(self):
        self.check_file(UNITTEST_FILE, passed=1, failed=5, skipped=1, said='on purpose')

    def test_file_that_does_not_load_fails(self):
        self.check_file('import nonexistent_module\n', failed=1, said='nonexistent_module')

    def test_file_without_cases_fails(self):
        self.check_file('', failed=1)

    def test_loop_tells_what_it_has_done(self):
        shutil.copy(TESTS / 'conftest.py', self.folder)
        self.check_file('def test_loop(): print("# moves: 5 rounds, 3 counts (SEED=1)")\n',
                        passed=1, said='  # moves: 5 rounds, 3 counts (SEED=1)')


class LengthTest(unittest.TestCase):
    def test_each_suite_is_in_a_length_and_quick_ones_are_in_check_too(self):
        for name, (_, _, lengths) in run.SUITES.items():
            with self.subTest(suite=name):
                self.assertTrue(lengths or name in ('storage', 'package'))  # have a make target
                self.assertLessEqual(set(lengths), set(run.LENGTHS))
                self.assertTrue('quick' not in lengths or 'check' in lengths)

    def test_effort_gives_meson_tests_more_time(self):
        with unittest.mock.patch.object(run, 'EFFORT', 3):
            called, = run.block('check')
        self.assertIn('--timeout-multiplier=60', called.command)

    def test_last_line_has_the_totals_and_unknown_suites_are_refused(self):
        command = [sys.executable, TESTS / 'run.py']
        unknown = subprocess.run([*command, 'nonesuch'], capture_output=True, text=True,
                                 check=False)
        self.assertEqual(unknown.returncode, 2)
        self.assertIn('nonesuch', unknown.stderr)
        for cases, last, status in ((GOOD, '1 passed, 0 failed, 0 skipped', 0),
                                    (GOOD + BAD + SKIPPED, '1 passed, 1 failed, 1 skipped', 1),
                                    (SKIPPED, '0 passed, 0 failed, 1 skipped', 1),
                                    ('', '0 passed, 1 failed, 0 skipped', 1)):
            with tempfile.TemporaryDirectory() as folder:
                ready, report = Path(folder, 'ready.xml'), Path(folder, 'report.xml')
                ready.write_text(REPORT.format(cases))
                suite = (lambda _, r=ready, to=report: [run.Run('r', ['cp', str(r), str(to)], to)],
                         'description', run.LENGTHS)
                with unittest.mock.patch.object(run, 'SUITES', {'suite': suite}), \
                        unittest.mock.patch.object(run, 'REPORTS', Path(folder)), \
                        unittest.mock.patch.object(sys, 'argv', ['run.py']), \
                        unittest.mock.patch.object(run.signal, 'signal'), \
                        unittest.mock.patch.dict(os.environ), \
                        contextlib.redirect_stdout(io.StringIO()) as said:
                    self.assertEqual(run.main(), status)
            self.assertEqual(said.getvalue().splitlines()[-1], last)


if __name__ == '__main__':
    unittest.main()
