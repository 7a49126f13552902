/*
 * Blobstore unit tests over the real block layer: the VM around it
 *
 * The block layer is QEMU's own.  This file plays all else that the glue needs
 * of the emulator: run state, reset, and the sections of the VM's state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_BLOBSTORE_VM_H
#define TESTS_UNIT_BLOBSTORE_VM_H

#include "system/runstate.h"

/* main() calls this once and returns its result. */
int vm_run_tests(int argc, char **argv, void (*add_tests)(void));

/* Like vm_stop(), vm_start() and system_reset, without vCPUs */
void vm_stop_now(RunState state);
bool vm_start_now(void);
void vm_reset_now(void);
/* The same in two parts, for a test to act in between */
void vm_reset_begin(void);
void vm_reset_end(void);
/* Resets as loadvm does before it loads the state. */
void vm_reset_for_snapshot(void);
void vm_reset_for_snapshot_begin(void);
void vm_reset_for_snapshot_end(void);
/* Returns whether a stop was requested since the last vm_start_now(). */
bool vm_stop_was_requested(void);
void vm_set_incoming(bool incoming);
/* Sets the capability x-colo. */
void vm_set_colo(bool on);

/*
 * Returns the state of the VM as savevm saves it; NULL if it cannot be saved.
 */
GBytes *vm_save_state(void);
bool vm_load_state(GBytes *state);
/* Loads @state, which lacks its first @skipped sections. */
bool vm_load_rest_of_state(GBytes *state, unsigned skipped);
unsigned vm_sections(void);

/* Runs the main loop until *@done, which another thread may set. */
void poll_until(bool *done);

#endif /* TESTS_UNIT_BLOBSTORE_VM_H */
