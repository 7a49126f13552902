/*
 * Blobstore unit tests over the real block layer: the VM around it
 *
 * The block layer is QEMU's own.  What the glue needs of the emulator besides
 * (run state, reset, sections of its state) is played here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_BLOBSTORE_VM_H
#define TESTS_UNIT_BLOBSTORE_VM_H

#include "system/runstate.h"

/* Once, before the first test; returns what main() returns. */
int vm_run_tests(int argc, char **argv, void (*add_tests)(void));

/* Like vm_stop(), vm_start() and system_reset, without vCPUs */
void vm_stop_now(RunState state);
bool vm_start_now(void);
void vm_reset_now(void);
/* The same in two parts: what devices do in between has to end. */
void vm_reset_begin(void);
void vm_reset_end(void);
/* As loadvm does it before the state comes */
void vm_reset_for_snapshot(void);
/* Since the last vm_start_now() */
bool vm_stop_was_requested(void);
void vm_set_incoming(bool incoming);
/* The capability x-colo */
void vm_set_colo(bool on);

/* The state of the VM, as savevm has it; NULL if it cannot be saved */
GBytes *vm_save_state(void);
bool vm_load_state(GBytes *state);
/* Without so many sections at its beginning, which @state does not have */
bool vm_load_rest_of_state(GBytes *state, unsigned skipped);
unsigned vm_sections(void);

/* Runs the main loop until *@done, which another thread may set. */
void poll_until(bool *done);

#endif /* TESTS_UNIT_BLOBSTORE_VM_H */
