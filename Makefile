# SPDX-License-Identifier: GPL-2.0-or-later
#
# All build output goes below build/. The scripts do only what is out of date,
# so the targets call them each time. QEMU_SRC=DIR builds on a QEMU 10.0 tree
# of yours (copied) instead of fetching one.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
# The tools that the targets run use all processors themselves.
.NOTPARALLEL:

build := $(CURDIR)/build
qemu := $(build)/qemu/build
storage_qemu := $(build)/qemu/storage
meson := PYTHONPATH=$(build)/debian/usr/lib/python3/dist-packages \
	/usr/bin/python3 -m mesonbuild.mesonmain
ninja := PYTHONPATH=$(build)/debian/usr/lib/python3/dist-packages ninja

export QEMU_SRC

# The programs that tests and the demo run, of the build in the folder $(1).
programs_of = QEMU=$(1)/qemu-system-x86_64 QEMU_IMG=$(1)/qemu-img \
	QEMU_IO=$(1)/qemu-io QEMU_BLOBSTORE=$(1)/tools/blobstore/qemu-blobstore
programs := $(call programs_of,$(qemu))

.PHONY: help
help:
	@echo 'make demo      boot a Linux guest whose TPM lives on a block device, twice, and compare'
	@echo 'make demo-encryption  what an encrypted image gives away, and how its keys change'
	@echo 'make run       an interactive guest with such a TPM'
	@echo 'make quick     an answer in two minutes, to be asked for after each change'
	@echo 'make check     all tests that are not drawn by chance for long, some twelve minutes'
	@echo 'make night     those: long random loops, power failures, the model, mutants; an hour or more'
	@echo '               SUITES="core device" runs some, EFFORT= and SEED= reach them,'
	@echo '               JOBS= run at a time'
	@echo 'make check-storage  on real servers: Ceph, iSCSI, NFS, NBD with TLS, loop devices, file systems;'
	@echo '               needs root and installs them; a few minutes'
	@echo 'make install   build a full QEMU and install it below PREFIX (/usr/local), in DESTDIR if that is given'
	@echo 'make deb       make a Debian package of it, in build/deb; check-deb tries it in a clean Debian, as root'
	@echo 'make dist      our files in a tarball, and a patch of the hooks, for somebody who packages QEMU; in build/dist'
	@echo 'make core      the core and its tests alone, with sanitizers, in a few minutes'
	@echo 'make crash     let the power fail everywhere: SEED=, EFFORT=; ID=... looks again at one that it found'
	@echo 'make qemu      fetch QEMU 10.0, graft this repository onto it and build it'
	@echo 'make paths     print where the built programs are, as shell assignments'
	@echo 'make coverage  how much of the core its tests run, by lines; fuzz-coverage: the corpus alone'
	@echo 'make bench     durable commits, ours and others, then what a migration costs: BENCH_DIR=,'
	@echo '               BENCH_JSON= and BENCH_SVG= say where; bench-commits, -block, -hostile and -migration are its parts'
	@echo 'make bench-fleet  start VMS= (100) at once, with TPMs on several drives and with swtpm; commits on each'
	@echo '               kind of drive, also on the servers of check-storage'
	@echo 'make fuzz      hostile images and random operations, TIME= seconds each (60)'
	@echo 'make mutants   break the code in one place at a time; a test must notice (ONLY=R4: of one rule,'
	@echo '               ONLY=S: of sealing, ONLY=glue: of what is in QEMU)'
	@echo 'make mutants-fit  list these places, and look whether they are still there'
	@echo 'make clean     remove build/, the fetched sources included'
	@echo
	@echo 'demo, run and check install the Debian packages that are missing; that needs root.'
	@echo 'QEMU_SRC=DIR builds on a copy of that QEMU 10.0 tree.'

.PHONY: packages
packages:
	@scripts/packages.sh

.PHONY: qemu
qemu: packages
	@scripts/fetch-qemu.sh
	@scripts/build-qemu.sh

# With ASan and UBSan, for tests that a running QEMU must survive.
.PHONY: qemu-asan
qemu-asan: qemu
	@scripts/build-qemu.sh asan

.PHONY: guest
guest: packages
	@scripts/guest.sh

.PHONY: demo
demo: qemu guest
	@$(programs) python3 scripts/demo.py

.PHONY: demo-encryption
demo-encryption: qemu guest
	@$(programs) python3 scripts/encryption.py

.PHONY: run
run: qemu guest
	@$(programs) python3 scripts/run.py

.PHONY: core-build
core-build: packages
	@scripts/fetch-qemu.sh tools
	@[ -f $(build)/core/build.ninja ] || \
		$(meson) setup $(build)/core -Dbuildtype=debugoptimized \
			-Db_sanitize=address,undefined -Db_lundef=false
	@$(ninja) -C $(build)/core --quiet

.PHONY: core
core: core-build
	@tests/run.py core format

.PHONY: fast-build
fast-build: packages
	@scripts/fetch-qemu.sh tools
	@[ -f $(build)/fast/build.ninja ] || \
		$(meson) setup $(build)/fast -Dbuildtype=release
	@$(ninja) -C $(build)/fast --quiet tests/crash/{explore,damage,owners}

.PHONY: crash
crash: fast-build
	@$(build)/fast/tests/crash/explore $(ID)

.PHONY: quick
quick: qemu core-build
	@$(programs) tests/run.py --length=quick $(SUITES)

.PHONY: check
check: qemu core-build fast-build guest
	@$(programs) tests/run.py --length=check $(SUITES)

.PHONY: night
night: qemu qemu-asan core-build fast-build guest mutants-fit
	@$(programs) tests/run.py --length=night $(SUITES)

# With drivers of network storage, and the servers for them.
.PHONY: qemu-storage
qemu-storage: packages
	@scripts/packages.sh storage
	@scripts/fetch-qemu.sh
	@scripts/build-qemu.sh storage

.PHONY: check-storage
check-storage: qemu-storage
	@$(call programs_of,$(storage_qemu)) tests/run.py --length=check storage

# The QEMU that is installed: with all that Debian's has.
.PHONY: qemu-full
qemu-full:
	@scripts/packages.sh full
	@scripts/fetch-qemu.sh
	@scripts/build-qemu.sh full

.PHONY: install
install: qemu-full
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' scripts/install.sh

.PHONY: deb
deb: qemu-full
	@scripts/packages.sh package
	@scripts/deb.sh

.PHONY: check-deb
check-deb: deb guest
	@tests/run.py --length=check package

.PHONY: dist
dist: packages
	@scripts/fetch-qemu.sh
	@scripts/dist.sh

.PHONY: coverage-build
coverage-build: packages
	@scripts/fetch-qemu.sh tools
	@[ -f $(build)/coverage/build.ninja ] || \
		$(meson) setup $(build)/coverage -Dbuildtype=debug -Db_coverage=true
	@$(ninja) -C $(build)/coverage --quiet
	@find $(build)/coverage -name '*.gcda' -delete

.PHONY: coverage
coverage: coverage-build
	@$(meson) test -C $(build)/coverage --quiet --no-suite long
	@gcovr --root $(CURDIR) --filter blobstore/ $(build)/coverage

TIME ?= 60

.PHONY: fuzz
fuzz:
	@scripts/packages.sh fuzz
	@scripts/fetch-qemu.sh tools
	@[ -f $(build)/fuzz/build.ninja ] || \
		CC=clang $(meson) setup $(build)/fuzz -Dbuildtype=debugoptimized \
			-Db_sanitize=address,undefined -Db_lundef=false -Dfuzz=true
	@$(ninja) -C $(build)/fuzz --quiet tests/fuzz/fuzz-{open,ops,swtpm}
	@tests/fuzz/run.sh $(build)/fuzz $(TIME)

.PHONY: fuzz-coverage
fuzz-coverage: coverage-build
	@$(meson) test -C $(build)/coverage --quiet --suite fuzz
	@gcovr --root $(CURDIR) --filter blobstore/ $(build)/coverage
	@gcovr --root $(CURDIR) --filter blobstore/ --branches $(build)/coverage

.PHONY: mutants
mutants: qemu mutants-fit
	@scripts/fetch-qemu.sh tools
	@ONLY='$(ONLY)' tests/run.py --length=night mutants

.PHONY: mutants-fit
mutants-fit:
	@python3 tests/mutants/mutants.py

BENCH_DIR ?= $(build)/bench-data
BENCH_JSON ?= $(build)/bench.json
BENCH_SVG ?= $(build)/bench.svg
BENCH_MIGRATION_JSON ?= $(build)/bench-migration.json
VMS ?= 100

.PHONY: bench
bench: bench-commits bench-hostile bench-block bench-migration

# The benchmark writes to 1 and 1,000 blobs through QEMU's block layer.
.PHONY: bench-block
bench-block: qemu
	@mkdir -p $(BENCH_DIR)
	@$(qemu)/tests/unit/bench-blobstore-commit $(BENCH_DIR) | grep ratio

.PHONY: bench-commits
bench-commits:
	@scripts/packages.sh bench
	@scripts/fetch-qemu.sh tools
	@[ -f $(build)/bench/build.ninja ] || \
		$(meson) setup $(build)/bench -Dbuildtype=debugoptimized -Dbench=true
	@$(ninja) -C $(build)/bench --quiet bench/bench
	@mkdir -p $(BENCH_DIR)
	@python3 bench/with_token.py $(build)/bench/bench/bench --dir=$(BENCH_DIR) \
		--json=$(BENCH_JSON)
	@/usr/bin/python3 bench/plot.py $(BENCH_JSON) $(BENCH_SVG)

.PHONY: bench-hostile
bench-hostile:
	@scripts/packages.sh bench
	@scripts/fetch-qemu.sh tools
	@[ -f $(build)/bench/build.ninja ] || \
		$(meson) setup $(build)/bench -Dbuildtype=debugoptimized -Dbench=true
	@$(ninja) -C $(build)/bench --quiet bench/hostile
	@mkdir -p $(BENCH_DIR)
	@$(build)/bench/bench/hostile $(BENCH_DIR)

.PHONY: bench-migration
bench-migration: qemu
	@mkdir -p $(BENCH_DIR)
	@$(programs) python3 bench/migration.py --dir=$(BENCH_DIR) \
		--json=$(BENCH_MIGRATION_JSON)

# Many VMs at once, and commits on each kind of drive.
.PHONY: bench-fleet
bench-fleet: qemu-storage
	@scripts/packages.sh bench
	@mkdir -p $(BENCH_DIR)
	@$(call programs_of,$(storage_qemu)) tests/servers/apart.sh \
		python3 bench/fleet.py --dir=$(BENCH_DIR) --vms=$(VMS)
	@$(call programs_of,$(storage_qemu)) tests/servers/apart.sh python3 bench/drives.py \
		--dir=$(BENCH_DIR) $(storage_qemu)/tests/unit/bench-blobstore-drive

.PHONY: paths
paths:
	@printf '%s\n' $(programs)

.PHONY: clean
clean:
	rm -rf $(build)
