# SPDX-License-Identifier: GPL-2.0-or-later
"""Suspend to RAM on a q35, as firmware and guest would do it."""

PCI_ADDRESS, PCI_DATA = 0xcf8, 0xcfc
LPC = 1 << 31 | 31 << 11
LPC_PMBASE, LPC_ACPI_CONTROL, ACPI_ENABLE = 0x40, 0x44, 0x80
PM_BASE = 0x600
PM1_CONTROL = PM_BASE + 4
SLEEP_S3 = 1 << 10 | 1 << 13
SLEEP_S5 = 0 << 10 | 1 << 13


def _sleep(machine, how):
    for register, value in (LPC_PMBASE, PM_BASE | 1), (LPC_ACPI_CONTROL, ACPI_ENABLE):
        machine.out_long(PCI_ADDRESS, LPC | register)
        machine.out_long(PCI_DATA, value)
    machine.out_word(PM1_CONTROL, how)


def suspend(machine):
    """Suspend to RAM as a guest does."""
    _sleep(machine, SLEEP_S3)
    machine.wait_event("SUSPEND")


def power_off(machine):
    """Power the machine off as a guest does."""
    _sleep(machine, SLEEP_S5)


def wake_up(machine):
    machine.qmp("system_wakeup")
    machine.wait_event("WAKEUP")
