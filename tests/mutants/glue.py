# SPDX-License-Identifier: GPL-2.0-or-later
"""Deliberate breaks of what is in QEMU: the glue, and the TPM.

Each is (test, what is broken, text, replacement), as in mutants.py. The test that must notice is a
program of tests/unit, which may have the path of one test, or a test of tests/machine.
"""

MACHINE = "tests/machine/"

GLUE_MUTANTS = [
    ("test-blobstore-write /blobstore/write/flushed",
     "a durable write is not flushed",
     "if (ret >= 0 && durable) {", "if (false) {"),
    (MACHINE + "test_page_cache.py -k is_dropped_after_an_unclean_end_on_raw",
     "the cache is not dropped after an unclean end",
     "if (medium->fresh) {", "if (true) {"),
    ("test-blobstore-policy /blobstore/werror/report",
     "an error that is to be reported is taken for one to live with",
     "if (action == BLOCK_ERROR_ACTION_REPORT) {", "if (false) {"),
    ("test-blobstore-policy /blobstore/werror/ignore",
     "what could not be written is forgotten",
     'stage_changes(commit->changes, "write error");', ";"),
    ("test-blobstore-policy /blobstore/werror/stop",
     "the VM runs although the medium still fails",
     "if (action != BLOCK_ERROR_ACTION_IGNORE) {", "if (false) {"),
    ("test-blobstore-state /blobstore/state",
     "a medium is trusted after the state of the VM was saved",
     "return MAX(now, BLOBSTORE_TRUST_NONE);", "return now;"),
    ("test-blobstore-state /blobstore/state",
     "a medium is trusted after a stop",
     "return MAX(now, BLOBSTORE_TRUST_CHECK);", "return now;"),
    ("test-blobstore-policy /blobstore/vm/reverted-medium",
     "a medium that was changed is not opened again",
     "if (!unchanged && !reopen_changed(store, &local)) {",
     "if (false && !reopen_changed(store, &local)) {"),
    ("test-blobstore-vmstate-sealed /blobstore/vmstate-sealed/every-byte/shared",
     "the key slots in a stream are not authenticated",
     "g_byte_array_append(said, keys->slots, sizeof(keys->slots));", ";"),
    ("test-blobstore-vmstate-sealed /blobstore/vmstate-sealed/every-byte/shared",
     "the second section of a stream is not authenticated",
     "if (!seal || !authenticate_section(seal, state, error)) {", "if (!seal) {"),
    ("test-blobstore-resize /blobstore/resize/shrink",
     "a drive that was made smaller is written to",
     "store->open.health.shrunk = true;", ";"),
    ("test-blobstore-write /blobstore/drain/stage",
     "a drained section is ignored",
     "if (!(commit->may_wait ? blobstore_gate_enter(store)\n"
     "                       : blobstore_gate_try_enter(store, NULL))) {",
     "if (false) {"),
    ("test-blobstore-tpm",
     "a start that the device refuses writes",
     "client->loaded && check_device(client, errp) &&", "client->loaded &&"),
    (MACHINE + "test_fence.py -k who_started_last_owns_the_store_whatever_the_policy",
     "a store without a lock has no fence",
     "return !bs || any_leaf(bs, is_unlocked);", "return false;"),
    (MACHINE + "test_fence.py -k who_started_last_owns_the_store_whatever_the_policy",
     "a VM that has lost its store runs on",
     "blobstore_state_event(store, BLOBSTORE_EVENT_TAKEN);\n"
     "    blobstore_report_failure(store, error->message);\n"
     "    if (runstate_is_running()) {",
     "blobstore_state_event(store, BLOBSTORE_EVENT_TAKEN);\n"
     "    blobstore_report_failure(store, error->message);\n"
     "    if (false) {"),
    (MACHINE + "test_lockout.py::ResetTest::test_reset",
     "a TPM is not shut down before a reset",
     "void tpm_shutdown_for_reset(TPMLibtpms *tpm) { if (!is_elsewhere()) {",
     "void tpm_shutdown_for_reset(TPMLibtpms *tpm) { if (false) {"),
    (MACHINE + "test_lockout.py -k destination_that_never_ran_writes_nothing",
     "a TPM that was migrated in and never ran is shut down",
     "if (!is_elsewhere() && !tpm->has_arrived) {", "if (!is_elsewhere()) {"),
    (MACHINE + "test_errors.py -k report_fails_the_tpm_until_a_reset_that_can_store",
     "a change that was not stored is acknowledged to the guest",
     "(stored || tpm_cmd_get_errcode(response))) {",
     "(true || tpm_cmd_get_errcode(response))) {"),
    (MACHINE + "test_errors.py -k does_not_fill_the_log",
     "each failure is reported",
     "if (nvram->reported & BIT(failure)) {", "if (false) {"),
    (MACHINE + "test_commands.py::WithheldTest::test_command_is_not_there",
     "libtpms gets the commands that are withheld",
     "const Fault *fault = find_withheld(ordinal);", "const Fault *fault = NULL;"),
    (MACHINE + "test_commands.py -k parent_that_may_leave_the_tpm",
     "libtpms imports under any parent",
     "code = fault ? fault->check(request, length) : 0;", "code = 0;"),
]
