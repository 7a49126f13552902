# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts that go into a QEMU 10.0 tree: our files, and the hook lines.

Everything of ours lives in files of our own. QEMU knows of them only through the few lines in this
table, each placed at an anchor: the shortest text that occurs exactly once in the file, always
within one line.
"""

from dataclasses import dataclass
from fnmatch import fnmatch

# Our files with a place in QEMU's tree, by their path in both. '*' spans '/'.
GRAFTED = (
    'blobstore/*',
    'include/blobstore/*',
    'hw/tpm/libtpms/*',
    'tools/blobstore/*',
    'qapi/blobstore*.json',
    'tests/unit/*blobstore-*.[ch]',
    'tests/qtest/blobstore-*.[ch]',
    'tests/qtest/*-blobstore-*.[ch]',
)


@dataclass(frozen=True)
class Hook:
    """Text to put into the QEMU file @file.

    @before, @after: the anchor. Text ending in a newline becomes lines of its
    own above or below the anchor's line; other text goes right beside the
    anchor within its line.
    @needs: our file that the text refers to. There is no hook without it, so
    that a tree is whole at every commit.
    """
    file: str
    text: str
    needs: str
    before: str = ''
    after: str = ''


def when(symbol, text):
    """C code that is compiled if @symbol is defined."""
    return f'#ifdef {symbol}\n{text}#endif\n'


def matching(paths, *patterns):
    return sorted(path for path in paths
                  if any(fnmatch(path, pattern) for pattern in patterns))


def grafted(paths):
    """The files among @paths (all files of ours) that go into QEMU's tree."""
    return matching(paths, *GRAFTED)


def hooks(paths):
    """The hooks for a QEMU tree that gets the files @paths."""
    table = (OPTION + BUILD + QAPI + JOB + TPM + START + SUSPENDED + FLUSH + MONITOR +
             test_hooks(paths))
    return [hook for hook in table if hook.needs in paths]


# A switch of QEMU's configure and its effect. Without the switch, QEMU gets everything for which
# the machine has the libraries.
OPTION = [
    Hook('meson_options.txt', needs='blobstore/meson.build',
         before="option('blkio',",
         text="option('blobstore', type : 'feature', value : 'auto',\n"
              "       description: 'device state in blob stores, a TPM among it')\n"),
    # This is exactly what scripts/meson-buildoptions.py makes of the option.
    Hook('scripts/meson-buildoptions.sh', needs='blobstore/meson.build',
         after="'  blkio ",
         text="  printf \"%s\\n\" '  blobstore       device state in blob stores, a TPM among it'\n"),
    Hook('scripts/meson-buildoptions.sh', needs='blobstore/meson.build',
         after='--disable-blkio)',
         text='    --enable-blobstore) printf "%s" -Dblobstore=enabled ;;\n'
              '    --disable-blobstore) printf "%s" -Dblobstore=disabled ;;\n'),
    Hook('meson.build', needs='blobstore/meson.build',
         after="config_host_data.set('CONFIG_TPM', have_tpm)",
         text="have_blobstore = dependency('libgcrypt', version: '>=1.10',\n"
              "                            required: get_option('blobstore') \\\n"
              "                              .disable_auto_if(not have_block)).found()\n"
              "libtpms = not_found\n"
              "if have_blobstore and have_system and have_tpm\n"
              "  libtpms = dependency('libtpms', version: '>=0.9',\n"
              "                       required: get_option('blobstore'))\n"
              "  openssl = dependency('libcrypto', version: '>=3.0', method: 'pkg-config',\n"
              "                       required: get_option('blobstore'))\n"
              "  if not openssl.found()\n"
              "    libtpms = not_found\n"
              "  endif\n"
              "endif\n"
              "config_host_data.set('CONFIG_BLOBSTORE', have_blobstore)\n"
              "config_host_data.set('CONFIG_LIBTPMS', libtpms.found())\n"
              "config_host_data.set('CONFIG_LIBTPMS_PROFILE', libtpms.found() and\n"
              "                     cc.has_function('TPMLIB_SetProfile',\n"
              "                                     dependencies: libtpms))\n"),
    Hook('meson.build', needs='blobstore/meson.build',
         after="summary_info += {'TPM support':",
         text="summary_info += {'blob stores':       have_blobstore}\n"
              "summary_info += {'libtpms':           libtpms}\n"),
]

BUILD = [
    Hook('meson.build', needs='blobstore/meson.build',
         after="subdir('backends')",
         text="if have_blobstore\n"
              "  subdir('blobstore')\n"
              "endif\n"),
    Hook('meson.build', needs='blobstore/qemu/trace-events',
         before="subdir('qapi')",
         text="if have_blobstore\n"
              "  stub_ss.add(files('blobstore/qemu/no-machine.c'))\n"
              "endif\n"
              "if have_blobstore and have_system\n"
              "  trace_events_subdirs += ['blobstore/qemu']\n"
              "endif\n"),
    Hook('meson.build', needs='hw/tpm/libtpms/engine/trace-events',
         before="subdir('qapi')",
         text="if libtpms.found()\n"
              "  trace_events_subdirs += ['hw/tpm/libtpms/engine']\n"
              "endif\n"),
    # At this place the tools and their libraries are known.
    Hook('meson.build', needs='tools/blobstore/meson.build',
         before="qemu_img = executable('qemu-img',",
         text="  if have_blobstore\n"
              "    subdir('tools/blobstore')\n"
              "  endif\n"),
    Hook('hw/tpm/meson.build', needs='hw/tpm/libtpms/meson.build',
         after="files('tpm_spapr.c'))",
         text="subdir('libtpms')\n"),
]

QAPI = [
    # QEMU generates code for modules that are not listed here, too, but does not compile it, and
    # their trace events do not exist.
    Hook('qapi/meson.build', needs='qapi/blobstore-object.json',
         before='qapi_nonmodule_outputs = [',
         text="if have_blobstore\n"
              "  qapi_all_modules += ['blobstore-object']\n"
              "endif\n"),
    Hook('qapi/meson.build', needs='qapi/blobstore.json',
         before='qapi_nonmodule_outputs = [',
         text="if have_blobstore and have_system\n"
              "  qapi_all_modules += ['blobstore']\n"
              "endif\n"),
    Hook('qapi/meson.build', needs='qapi/blobstore-tpm.json',
         before='qapi_nonmodule_outputs = [',
         text="if libtpms.found()\n"
              "  qapi_all_modules += ['blobstore-tpm']\n"
              "endif\n"),
    # Every program with -object gets the object properties, so they may not need commands. The
    # module is included ahead of qom.json, which would otherwise contain its types.
    Hook('qapi/qapi-schema.json', needs='qapi/blobstore-object.json',
         before="{ 'include': 'qom.json' }",
         text="{ 'include': 'blobstore-object.json' }\n"),
    Hook('qapi/qom.json', needs='qapi/blobstore-object.json',
         before="{ 'include': 'block-core.json' }",
         text="{ 'include': 'blobstore-object.json' }\n"),
    Hook('qapi/qom.json', needs='qapi/blobstore-object.json',
         before="'can-bus',",
         text="    { 'name': 'blobstore',\n"
              "      'if': 'CONFIG_BLOBSTORE' },\n"),
    Hook('qapi/qom.json', needs='qapi/blobstore-object.json',
         before="'can-host-socketcan':  ",
         text="      'blobstore':                  { 'type': 'BlobstoreProperties',\n"
              "                                      'if': 'CONFIG_BLOBSTORE' },\n"),
    # QEMU parses -object there with QemuOpts, which has no unions; keyval has.
    Hook('system/vl.c', needs='qapi/blobstore-object.json',
         before='opts_visitor_new(opts);',
         text='\n' +
              when('CONFIG_BLOBSTORE',
                   '            !strcmp(type, "blobstore") ?\n'
                   '            qobject_input_visitor_new_str(str, "qom-type", &error_fatal) :\n') +
              '            '),
    # Only the system emulator gets commands and events.
    Hook('qapi/qapi-schema.json', needs='qapi/blobstore.json',
         after="{ 'include': 'tpm.json' }",
         text="{ 'include': 'blobstore.json' }\n"),
]

JOB = [
    # blobstore-encrypt, blobstore-rekey, blobstore-decrypt
    Hook('qapi/job.json', needs='blobstore/qemu/convert-job.c',
         before='# Since: 1.7',
         text='# @blobstore-encrypt: blob store encryption job type, see\n'
              '#     "blobstore-encrypt" (since 10.1)\n'
              '#\n'
              '# @blobstore-rekey: job type of a change of the data key of a blob\n'
              '#     store, see "blobstore-rekey" (since 10.1)\n'
              '#\n'
              '# @blobstore-decrypt: blob store decryption job type, see\n'
              '#     "blobstore-decrypt" (since 10.1)\n'
              '#\n'),
    Hook('qapi/job.json', needs='blobstore/qemu/convert-job.c',
         after="'snapshot-load', 'snapshot-save', 'snapshot-delete'",
         text=",\n"
              "           { 'name': 'blobstore-encrypt', 'if': 'CONFIG_BLOBSTORE' },\n"
              "           { 'name': 'blobstore-rekey', 'if': 'CONFIG_BLOBSTORE' },\n"
              "           { 'name': 'blobstore-decrypt', 'if': 'CONFIG_BLOBSTORE' }"),
    # A driver can only delay the cancelling of a job, not refuse it.
    Hook('include/qemu/job.h', needs='blobstore/qemu/convert-job.c',
         after='bool (*cancel)(Job *job, bool force);',
         text='\n' + when('CONFIG_BLOBSTORE',
                          '    /**\n'
                          '     * If the callback is not NULL, a user cannot cancel the job when\n'
                          '     * it returns false and sets an error.  Called with job_mutex held.\n'
                          '     */\n'
                          '    bool (*check_user_cancel)(Job *job, Error **errp);\n')),
    Hook('job.c', needs='blobstore/qemu/convert-job.c',
         before='if (job_apply_verb_locked(job, JOB_VERB_CANCEL, errp)) {',
         text=when('CONFIG_BLOBSTORE',
                   '    if (job->driver->check_user_cancel &&\n'
                   '        !job->driver->check_user_cancel(job, errp)) {\n'
                   '        return;\n'
                   '    }\n')),
]

TPM = [
    # Every front end gets blobstore= and drive= beside tpmdev=: strings in its state. What other
    # devices with a drive have, and a TPM has not, is refused with words.
    Hook('hw/tpm/tpm_prop.h', needs='hw/tpm/libtpms/meson.build',
         after='PropertyInfo qdev_prop_tpm;',
         text=when('CONFIG_LIBTPMS',
                   'extern const PropertyInfo qdev_prop_tpm_blobstore;\n'
                   'extern const PropertyInfo qdev_prop_tpm_refused;\n'
                   '\n'
                   '/* Gives a front end the TPM in @store or @drive, if one is not NULL. */\n'
                   'bool tpm_libtpms_realize(TPMIf *tpmif, TPMBackend **backend,\n'
                   '                         const char *store, const char *drive,\n'
                   '                         const char *pcr_banks, Error **errp);\n'
                   '\n'
                   '#define DEFINE_PROP_TPM_REFUSED(_n, _s, _f)               \\\n'
                   '    DEFINE_PROP(_n, _s, _f##_drive, qdev_prop_tpm_refused, char *)\n'
                   '\n'
                   '#define DEFINE_PROP_TPM_BLOBSTORE(_s, _f)                 \\\n'
                   '    DEFINE_PROP("blobstore", _s, _f##_blobstore,          \\\n'
                   '                qdev_prop_tpm_blobstore, char *),             \\\n'
                   '    DEFINE_PROP_STRING("drive", _s, _f##_drive),          \\\n'
                   '    DEFINE_PROP_TPM_REFUSED("bootindex", _s, _f),         \\\n'
                   '    DEFINE_PROP_TPM_REFUSED("rerror", _s, _f),            \\\n'
                   '    DEFINE_PROP_TPM_REFUSED("share-rw", _s, _f),          \\\n'
                   '    DEFINE_PROP_TPM_REFUSED("werror", _s, _f),            \\\n'
                   '    DEFINE_PROP_TPM_REFUSED("write-cache", _s, _f),       \\\n'
                   '    DEFINE_PROP_STRING("pcr-banks", _s, _f##_pcr_banks),\n'
                   '#else\n'
                   '#define DEFINE_PROP_TPM_BLOBSTORE(_s, _f)\n')),
    Hook('hw/tpm/tpm_prop.h', needs='hw/tpm/libtpms/meson.build',
         before='DEFINE_PROP(_n, _s, _f, qdev_prop_tpm',
         text='    DEFINE_PROP_TPM_BLOBSTORE(_s, _f)                     \\\n'),
    *(Hook(file, needs='hw/tpm/libtpms/meson.build',
           after=f'TPMBackend *{backend};',
           text=when('CONFIG_LIBTPMS', f'    char *{backend}_blobstore;\n'
                                    f'    char *{backend}_drive;\n'
                                    f'    char *{backend}_pcr_banks;\n'))
      for file, backend in (('hw/tpm/tpm_tis.h', 'be_driver'),
                            ('hw/tpm/tpm_crb.c', 'tpmbe'),
                            ('hw/tpm/tpm_spapr.c', 'be_driver'))),
    *(Hook(file, needs='hw/tpm/libtpms/meson.build',
           before=anchor,
           text=when('CONFIG_LIBTPMS',
                     f'    if (!tpm_libtpms_realize(TPM_IF(dev), &s->{backend},\n'
                     f'                             s->{backend}_blobstore,\n'
                     f'                             s->{backend}_drive,\n'
                     f'                             s->{backend}_pcr_banks, errp)) {{\n'
                     '        return;\n'
                     '    }\n'))
      for file, backend, anchor in (
          ('hw/tpm/tpm_crb.c', 'tpmbe', 'if (!tpm_find()) {'),
          ('hw/tpm/tpm_tis_isa.c', 'be_driver', 'if (!tpm_find()) {'),
          ('hw/tpm/tpm_tis_sysbus.c', 'be_driver', 'if (!tpm_find()) {'),
          ('hw/tpm/tpm_spapr.c', 'be_driver', 'if (!tpm_find()) {'),
          # This device looks for a -tpmdev whatever its property says.
          ('hw/tpm/tpm_tis_i2c.c', 'be_driver', 'if (!s->be_driver) {'))),
    # query-tpm shows the backends in a list to which only -tpmdev adds them.
    Hook('include/system/tpm_backend.h', needs='hw/tpm/libtpms/meson.build',
         after='TPMBackend *qemu_find_tpm_be(const char *id);',
         text=when('CONFIG_LIBTPMS',
                   'TPMBackend *qemu_first_tpm_be(void);\n'
                   'void qemu_add_tpm_be(TPMBackend *be);\n')),
    Hook('system/tpm.c', needs='hw/tpm/libtpms/meson.build',
         after='QLIST_HEAD_INITIALIZER(tpm_backends);',
         text='\n' + when('CONFIG_LIBTPMS',
                          'TPMBackend *qemu_first_tpm_be(void)\n'
                          '{\n'
                          '    return QLIST_FIRST(&tpm_backends);\n'
                          '}\n'
                          '\n'
                          'void qemu_add_tpm_be(TPMBackend *be)\n'
                          '{\n'
                          '    QLIST_INSERT_HEAD(&tpm_backends, be, list);\n'
                          '}\n')),
    # -tpmdev libtpms, query-tpm, query-tpm-types, info tpm
    # First, like blobstore-object.json.
    Hook('qapi/qapi-schema.json', needs='qapi/blobstore-tpm.json',
         before="{ 'include': 'tpm.json' }",
         text="{ 'include': 'blobstore-tpm.json' }\n"),
    Hook('qapi/tpm.json', needs='qapi/blobstore-tpm.json',
         after='# vim: filetype=python',
         text="\n{ 'include': 'blobstore-tpm.json' }\n"),
    Hook('qapi/tpm.json', needs='qapi/blobstore-tpm.json',
         after='(since 2.11)',
         text='#\n# @libtpms: TPM inside QEMU, its state in a blob store (since 10.0)\n'),
    Hook('qapi/tpm.json', needs='qapi/blobstore-tpm.json',
         after="'passthrough', 'emulator'",
         text=",\n  { 'name': 'libtpms', 'if': 'CONFIG_LIBTPMS' }"),
    Hook('qapi/tpm.json', needs='qapi/blobstore-tpm.json',
         before="- 'emulator'",
         text="#     - 'libtpms' The configuration options for the libtpms type\n"),
    Hook('qapi/tpm.json', needs='qapi/blobstore-tpm.json',
         before="'emulator':",
         text="            'libtpms': { 'type': 'TPMLibtpmsOptionsWrapper',\n"
              "                         'if': 'CONFIG_LIBTPMS' },\n"),
    Hook('qemu-options.hx', needs='qapi/blobstore-tpm.json',
         before='"-tpmdev emulator,id=id,chardev=dev',
         text=when('CONFIG_LIBTPMS',
                   '    "-tpmdev libtpms,id=id,blobstore=store[,version=1.2|2.0]\\n"\n'
                   '    "                [,pcr-banks=bank[:bank...]][,profile=profile]\\n"\n'
                   '    "                emulate a TPM, its state in a blob store '
                   'or drive\\n"\n')),
    Hook('qemu-options.hx', needs='qapi/blobstore-tpm.json',
         before='``-tpmdev emulator,id=id,chardev=dev``',
         text='``-tpmdev libtpms,id=id,blobstore=store[,version=version][,pcr-banks=banks]``\n'
              '    A TPM emulated inside QEMU by libtpms. ``blobstore`` names '
              'what keeps its\n'
              '    state: a blobstore object, or a drive. ``version`` is 2.0 '
              '(default) or 1.2.\n'
              '    ``pcr-banks`` chooses the PCR banks of a new TPM 2.0: sha1, '
              'sha256, sha384\n'
              '    or sha512, separated by colons.\n'
              '\n'
              '    A TPM 2.0 needs no ``-tpmdev``: ``-device '
              'tpm-tis,blobstore=store``.\n'
              '\n'),
    Hook('system/tpm-hmp-cmds.c', needs='qapi/blobstore-tpm.json',
         before='case TPM_TYPE__MAX:',
         text=when('CONFIG_LIBTPMS',
                   '        case TPM_TYPE_LIBTPMS:\n'
                   '            monitor_printf(mon, ",blobstore=%s,version=%s",\n'
                   '                           ti->options->u.libtpms.data->blobstore,\n'
                   '                           TPMLibtpmsVersion_str(\n'
                   '                               ti->options->u.libtpms.data->version));\n'
                   '            break;\n')),
]

START = [
    # A handler of VM state changes cannot keep the VM from starting.
    Hook('system/cpus.c', needs='include/blobstore/vm-start.h',
         after='#include "system/runstate.h"',
         text='#include "blobstore/vm-start.h"\n'),
    Hook('system/cpus.c', needs='include/blobstore/vm-start.h',
         before='/* Ensure that a STOP/RESUME pair of events is emitted if a',
         text=when('CONFIG_BLOBSTORE', '    blobstore_vm_take_back_stop();\n')),
    Hook('system/cpus.c', needs='include/blobstore/vm-start.h',
         before='/* We are sending this now, but the CPUs will be resumed',
         text=when('CONFIG_BLOBSTORE',
                   '    if (!blobstore_vm_prepare_start()) {\n'
                   '        return -1;\n'
                   '    }\n')),
    # The command line has been carried out, -run-with included, and QEMU has not reported to a
    # parent that waits for it (-daemonize).
    Hook('os-posix.c', needs='include/blobstore/machine.h',
         after='#include "system/runstate.h"',
         text='#include "blobstore/machine.h"\n'),
    Hook('os-posix.c', needs='include/blobstore/machine.h',
         after='change_process_uid();',
         text=when('CONFIG_BLOBSTORE', '    blobstore_machine_complete();\n')),
    # With -loadvm that is too late. The snapshot has been found, and nothing has changed.
    Hook('migration/savevm.c', needs='include/blobstore/snapshot.h',
         after='#include "system/runstate.h"',
         text='#include "blobstore/snapshot.h"\n'),
    Hook('migration/savevm.c', needs='include/blobstore/snapshot.h',
         before="/* Flush all IO requests so they don't interfere with the new state.  */",
         text=when('CONFIG_BLOBSTORE',
                   '    if (!blobstore_snapshot_prepare_load(name, has_devices, devices,\n'
                   '                                         errp)) {\n'
                   '        return false;\n'
                   '    }\n')),
    # The state of the VM goes to the first image that takes it.
    Hook('migration/savevm.c', needs='include/blobstore/snapshot.h',
         after='    bs = bdrv_all_find_vmstate_bs(vmstate, has_devices, devices, errp);',
         text=when('CONFIG_BLOBSTORE', '    blobstore_snapshot_note_save(bs);\n')),
    Hook('block/snapshot.c', needs='include/blobstore/snapshot.h',
         after='#include "system/block-backend.h"',
         text='#include "blobstore/snapshot.h"\n'),
    Hook('block/snapshot.c', needs='include/blobstore/snapshot.h',
         before='*all_bdrvs = g_steal_pointer(&bdrvs);',
         text=when('CONFIG_BLOBSTORE',
                   '    if (!has_devices) {\n'
                   '        bdrvs = g_list_sort(bdrvs, blobstore_snapshot_compare);\n'
                   '    }\n')),
]

# QEMU leaves out a flush if it has written nothing to the node. Somebody else may have, who ended
# before his own flush: so the first flush after a node was activated is a real one.
FLUSH = [
    Hook('block.c', needs='blobstore/qemu/block-io.c',
         before='if (bs->drv->bdrv_co_invalidate_cache) {',
         text=when('CONFIG_BLOBSTORE', '    qatomic_inc(&bs->write_gen);\n')),
]

SUSPENDED = [
    # A guest can suspend while, or just after, its storage fails.
    Hook('system/runstate.c', needs='include/blobstore/vm-start.h',
         after='{ RUN_STATE_IO_ERROR, RUN_STATE_RUNNING },',
         text=when('CONFIG_BLOBSTORE', '    { RUN_STATE_IO_ERROR, RUN_STATE_SUSPENDED },\n')),
    Hook('system/runstate.c', needs='include/blobstore/vm-start.h',
         before='{ RUN_STATE_SUSPENDED, RUN_STATE_RUNNING },',
         text=when('CONFIG_BLOBSTORE', '    { RUN_STATE_SUSPENDED, RUN_STATE_IO_ERROR },\n')),
    # The VM stops before it is suspended, and is suspended when it continues.
    Hook('system/runstate.c', needs='include/blobstore/vm-start.h',
         before='runstate_set(RUN_STATE_SUSPENDED);',
         text=when('CONFIG_BLOBSTORE',
                   '    if (!runstate_is_live(runstate_get())) {\n'
                   '        vm_set_suspended(true);\n'
                   '        qapi_event_send_suspend();\n'
                   '        return;\n'
                   '    }\n')),
]

MONITOR = [
    # A guest can cause this event as often as it likes.
    Hook('monitor/monitor.c', needs='qapi/blobstore.json',
         before='[QAPI_EVENT_QUORUM_FAILURE]',
         text=when('CONFIG_BLOBSTORE',
                   '    [QAPI_EVENT_BLOBSTORE_WRITE_ERROR] = { 1000 * SCALE_MS },\n')),
    # Events of one store do not count for another, which has its own id.
    Hook('monitor/monitor.c', needs='qapi/blobstore.json',
         before='if (evstate->event == QAPI_EVENT_VSERPORT_CHANGE',
         text=when('CONFIG_BLOBSTORE',
                   '    if (evstate->event == QAPI_EVENT_BLOBSTORE_WRITE_ERROR) {\n'
                   '        hash += g_str_hash(qdict_get_str(evstate->data, "id"));\n'
                   '    }\n')),
    Hook('monitor/monitor.c', needs='qapi/blobstore.json',
         before='if (eva->event == QAPI_EVENT_VSERPORT_CHANGE',
         text=when('CONFIG_BLOBSTORE',
                   '    if (eva->event == QAPI_EVENT_BLOBSTORE_WRITE_ERROR) {\n'
                   '        return !strcmp(qdict_get_str(eva->data, "id"),\n'
                   '                       qdict_get_str(evb->data, "id"));\n'
                   '    }\n')),
    # The glue registers the command's function with monitor_register_hmp().
    Hook('hmp-commands-info.hx', needs='qapi/blobstore.json',
         after='Show the TPM device.',
         text='ERST\n'
              '\n'
              '#if defined(CONFIG_BLOBSTORE)\n'
              '    {\n'
              '        .name       = "blobstore",\n'
              '        .args_type  = "",\n'
              '        .params     = "",\n'
              '        .help       = "show the blob stores",\n'
              '    },\n'
              '#endif\n'
              '\n'
              'SRST\n'
              '  ``info blobstore``\n'
              '    Show the blob stores and the blobs in them.\n'),
]


def test_hooks(paths):
    return unit_test_hooks(paths) + qtest_hooks(paths)


def unit_test_hooks(paths):
    helpers = ''.join(f"'{path.removeprefix('tests/unit/')}', "
                      for path in matching(paths, 'tests/unit/blobstore-*.c'))
    needs = 'testblock, qom, hwcore, migration, io, blobstore'
    table = [Hook('tests/unit/meson.build', needs='blobstore/qemu/meson.build',
                  before='test_env = environment()',
                  text='if have_blobstore and have_system\n'
                       "  libblobstore = static_library('blobstore-unit', blobstore_sources,\n"
                       f"    {helpers}genh,\n"
                       '    dependencies: blobstore_pkcs11_deps, build_by_default: false)\n'
                       '  blobstore = declare_dependency(\n'
                       '    objects: libblobstore.extract_all_objects(recursive: false),\n'
                       '    dependencies: blobstore_pkcs11_deps)\n'
                       'endif\n\n')]
    for path in (*matching(paths, 'tests/unit/test-blobstore-*.c'),
                 *matching(paths, 'tests/unit/bench-blobstore-*.c')):
        name = path.split('/')[-1].removesuffix('.c')
        condition, libraries = 'have_blobstore', needs
        if name.startswith('test-blobstore-tpm'):
            condition, libraries = 'libtpms.found()', f'{needs}, tpm_libtpms'
        table.append(Hook('tests/unit/meson.build', needs=path,
                          before='test_env = environment()',
                          text=f'if {condition} and have_system\n'
                               f"  tests += {{'{name}': [{libraries}]}}\n"
                               'endif\n\n'))
    return table


def qtest_hooks(paths):
    helpers = [path.removeprefix('tests/qtest/')
               for path in matching(paths, 'tests/qtest/blobstore-*.c')
               if not path.endswith('-test.c')]
    sources = ''.join(f", '{helper}'" for helper in helpers)
    table = []
    for path in matching(paths, 'tests/qtest/*blobstore*-test.c'):
        name = path.split('/')[-1].removesuffix('.c')
        table.append(Hook('tests/qtest/meson.build', needs=path,
                          before='qtests_x86_64 = qtests_i386',
                          text='if libtpms.found()\n'
                               f"  qtests_i386 += ['{name}']\n"
                               'endif\n'))
        table.append(Hook('tests/qtest/meson.build', needs=path,
                          before="'tpm-crb-test': [",
                          text=f"  '{name}': [io, tpmemu_files, "
                               f"'tpm-tis-util.c'{sources}],\n"))
    return table
