# SPDX-License-Identifier: GPL-2.0-or-later
"""--disable-blobstore gives the original QEMU, and without libtpms there is no such TPM.

QEMU's configure runs in directories of the test's own, on the tree in build/qemu/src. Of each
build only those parts are made that show the difference: files generated from the QAPI schema, and
the objects of the C files that got hooks.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
QEMU = REPO / 'build/qemu/src'
MESON = REPO / 'build/debian/usr/lib/python3/dist-packages'
sys.path.insert(0, str(REPO / 'scripts'))

import graft    # noqa: E402
import hooks    # noqa: E402

HOOKED = sorted({hook.file for hook in hooks.hooks(graft.our_files(REPO))})
# All our symbols, strings, properties and QAPI names contain one of these words.
OURS = re.compile(rb'blobstore|libtpms', re.IGNORECASE)


def usual_flags():
    """The flags of scripts/build-qemu.sh, except for the switch."""
    script = (REPO / 'scripts/build-qemu.sh').read_text()
    array, = re.findall(r'^flags=\(\n.*?^\)$', script, re.MULTILINE | re.DOTALL)
    printed = subprocess.run(['bash', '-c', array + '\nprintf "%s\\n" "${flags[@]}"'],
                             capture_output=True, text=True, check=True).stdout
    return [flag for flag in printed.splitlines() if flag != '--enable-blobstore']


USUAL_FLAGS = usual_flags()


class OptionTest(unittest.TestCase):
    """Configure with the flags @flags, and a pkg-config that does not know @missing."""
    flags = None
    missing = None

    @classmethod
    def setUpClass(cls):
        if cls.flags is None:
            raise unittest.SkipTest('the cases are below')
        directory = tempfile.TemporaryDirectory(prefix='option-')
        cls.addClassCleanup(directory.cleanup)
        cls.build = Path(directory.name) / 'build'
        cls.build.mkdir()
        cls.environment = {
            **os.environ,
            'PYTHONPATH': str(MESON),
        }
        if cls.missing:
            cls.hide(Path(directory.name) / 'bin')
        cls.configured = cls.run_in_build(QEMU / 'configure', *cls.flags)

    @classmethod
    def hide(cls, tools):
        tools.mkdir()
        tool = tools / 'pkg-config'
        tool.write_text('#!/bin/sh\n'
                        f'case " $* " in *" {cls.missing} "*) exit 1 ;; esac\n'
                        f'exec {shutil.which("pkg-config")} "$@"\n')
        tool.chmod(0o755)
        cls.environment['PKG_CONFIG'] = str(tool)

    @classmethod
    def run_in_build(cls, *command):
        return subprocess.run(command, cwd=cls.build, env=cls.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def run_well(self, *command):
        result = self.run_in_build(*command)
        self.assertEqual(result.returncode, 0, result.stdout[-4000:])
        return result.stdout

    def defined(self):
        """Check which of our two symbols are defined in config-host.h."""
        self.assertEqual(self.configured.returncode, 0, self.configured.stdout[-4000:])
        header = (self.build / 'config-host.h').read_text()
        return set(re.findall(r'^#define CONFIG_(BLOBSTORE|LIBTPMS)\b', header, re.MULTILINE))

    def make_objects(self, sources):
        """The objects of those @sources that this build compiles, by source."""
        targets = self.run_well('ninja', '-t', 'targets', 'all').splitlines()
        objects = {}
        for source in sources:
            name = re.escape(source.replace('/', '_')) + r'\.o'
            found = [target.split(':')[0] for target in targets
                     if re.search(rf'\.a\.p/(\.\._)*{name}:', target)]
            if found:
                objects[source] = found[0]
        self.run_well('ninja', *objects.values())
        return {source: self.build / path for source, path in objects.items()}

    def assert_not_ours(self, objects):
        for source, path in objects.items():
            with self.subTest(source):
                bare = path.with_suffix('.bare')
                self.run_well('strip', '--strip-debug', '-o', bare, path)
                self.assertIsNone(OURS.search(bare.read_bytes()))

    def schema(self, generated):
        """The names of a schema in order, once the preprocessor has been through it.

        QEMU masks the names of types by numbers in the order of the whole schema.
        """
        bare = self.build / 'schema.c'
        bare.write_text(re.sub('^#include .*', '', generated.read_text(), flags=re.MULTILINE))
        text = self.run_well('cc', '-E', '-P', '-include', self.build / 'config-host.h', bare)
        text = text[text.index('qmp_schema_qlit'):]
        numbers = {}
        return [re.sub(r'\d+', lambda number: str(numbers.setdefault(number[0], len(numbers))),
                       name) if re.fullmatch(r'\[?\d+\]?', name) else name
                for name in re.findall(r'"([^"]*)"', text)]


class ConfigureTest(unittest.TestCase):
    def test_switch_is_as_the_generator_of_qemu_writes_it(self):
        environment = {**os.environ, 'PYTHONPATH': str(MESON)}
        options = subprocess.run([sys.executable, '-m', 'mesonbuild.mesonmain', 'introspect',
                                  '--buildoptions', QEMU / 'meson.build'], env=environment,
                                 stdout=subprocess.PIPE, check=True).stdout
        script = subprocess.run([sys.executable, QEMU / 'scripts/meson-buildoptions.py'],
                                input=options, stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(script.decode(), (QEMU / 'scripts/meson-buildoptions.sh').read_text())


class DisabledTest(OptionTest):
    flags = [*USUAL_FLAGS, '--disable-blobstore']

    def test_nothing_is_defined(self):
        self.assertEqual(self.defined(), set())

    def test_schema_is_that_of_qemu(self):
        self.run_well('ninja', 'qapi/qapi-introspect.c')
        ours = self.schema(self.build / 'qapi/qapi-introspect.c')
        self.assertEqual(ours, self.schema(self.generate_original()))
        self.assertIn('query-tpm', ours)

    def generate_original(self):
        """The files that QEMU generates from its own schema."""
        copy = self.build / 'original'
        shutil.copytree(QEMU / 'qapi', copy / 'qapi', symlinks=True)
        for file in HOOKED:
            if file.startswith('qapi/'):
                shutil.copyfile(QEMU / graft.STATE / 'original' / file, copy / file)
        self.run_well(sys.executable, QEMU / 'scripts/qapi-gen.py', '-o', copy / 'out', '-b',
                      copy / 'qapi/qapi-schema.json')
        return copy / 'out/qapi-introspect.c'

    def test_hooked_files_have_nothing_of_ours(self):
        """Properties, option and command tables are in these objects, too."""
        sources = [file for file in HOOKED if file.endswith('.c')]
        objects = self.make_objects([*sources, 'monitor/hmp.c', 'monitor/hmp-target.c',
                                     'hw/tpm/tpm_tis_common.c'])
        # This file is for another target.
        self.assertEqual(set(sources) - set(objects), {'hw/tpm/tpm_spapr.c'})
        self.assert_not_ours(objects)

    def test_no_file_of_ours_is_built(self):
        built = self.run_well('ninja', '-t', 'targets', 'all')
        self.assertEqual([target for target, rule in
                          (line.rsplit(': ', 1) for line in built.splitlines())
                          if rule != 'phony' and OURS.search(target.encode())], [])


class WithoutLibtpmsTest(OptionTest):
    # By default QEMU looks for each feature that has no switch.
    flags = [flag for flag in USUAL_FLAGS if flag != '--without-default-features']
    missing = 'libtpms'

    def test_store_stays_and_its_tpm_goes(self):
        self.assertEqual(self.defined(), {'BLOBSTORE'})
        built = self.run_well('ninja', '-t', 'targets', 'all')
        self.assertIn('blobstore_qemu_object.c.o', built)
        self.assertNotIn('hw_tpm_libtpms', built)
        self.assert_not_ours(self.make_objects(['hw/tpm/tpm_crb.c', 'hw/tpm/tpm_tis_isa.c']))


class WithoutOpenSSLTest(OptionTest):
    flags = WithoutLibtpmsTest.flags
    missing = 'libcrypto'

    def test_tpm_goes(self):
        self.assertEqual(self.defined(), {'BLOBSTORE'})


class EnabledWithoutLibtpmsTest(OptionTest):
    flags = [*USUAL_FLAGS, '--enable-blobstore']
    missing = 'libtpms'

    def test_it_is_asked_for(self):
        self.assertNotEqual(self.configured.returncode, 0)
        self.assertRegex(self.configured.stdout, f'ERROR: Dependency "{self.missing}" not found')


class EnabledWithoutOpenSSLTest(EnabledWithoutLibtpmsTest):
    missing = 'libcrypto'


if __name__ == '__main__':
    unittest.main()
