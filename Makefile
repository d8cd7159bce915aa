# SPDX-License-Identifier: BSD-2-Clause
# The only Makefile. Variants live side by side: make O=build/asan CC=clang SAN=address,undefined
#   make          programs and library          make test   everything that proves them
#   make demo     the main job, on real input   make bench  kernel and onramp side by side
#   make demo-user   of it what an ordinary user can do on one host

O	?= build
CC	:= $(if $(filter default,$(origin CC)),gcc,$(CC))
OPT	?= -O2
CLANG	?= clang
PREFIX	?= /usr/local
I	 = $(DESTDIR)$(PREFIX)
VERSION	:= $(shell sed -n 's/.*ONRAMP_VERSION *"\(.*\)".*/\1/p' src/base/version.h)
BPFTOOL	?= $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)

WARN	 = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Werror \
	   -Wno-address-of-packed-member
CFLAGS	 = -std=gnu11 -g $(OPT) -fPIC -fno-common -fvisibility=hidden -fno-strict-aliasing \
	   -fno-omit-frame-pointer -D_GNU_SOURCE $(WARN) -Isrc -Iinclude -I. -I$(O)/gen $(SANFLAGS) $(XCFLAGS)
LDFLAGS	 = $(SANFLAGS) -Wl,--as-needed $(XLDFLAGS)
SANFLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)

core_src := $(wildcard src/base/*.c src/shm/*.c src/wire/*.c src/core/*/*.c)
host_src := $(wildcard src/host/*.c src/exec/*.c)
conf_src := $(wildcard src/conf/*.c)
lib_src  := $(wildcard src/chain/*.c src/sock/*.c src/trap/*.c src/preload/*.c)
ap_src := $(wildcard src/aperture/*.c)
# With what it needs of the rest: the library for apertures between hosts stands alone.
ap_all := $(ap_src) $(wildcard src/core/aperture/*.c) src/wire/ci.c src/wire/eth.c src/base/csum.c src/base/crc32c.c \
	  src/base/hash.c src/host/clock.c src/host/crc32c_best.c
example_src := $(wildcard examples/*.c)
agent_src := $(wildcard src/agent/*.c)
surr_src := $(wildcard src/surrogate/*.c)
bridge_src := $(wildcard src/bridge/*.c src/sock/*.c)
tool_src := $(wildcard tools/*.c)
starter_src := $(wildcard src/starter/*.c)
chooser_src := $(wildcard src/chooser/*.c)
drill_src := $(wildcard test/packetdrill/adapter/*.c)
sim_src  := $(filter-out sim/main.c,$(wildcard sim/*.c))
bpf_src  := $(wildcard src/bpf/*.bpf.c)
unit_src := $(wildcard test/unit/*.c test/state/*.c)
model_src := $(filter-out test/model/mc.c,$(wildcard test/model/*.c))
fuzz_src := $(wildcard test/fuzz/*.c)
app_src  := $(filter-out test/bench/raw_echo.c %.bpf.c,$(wildcard test/apps/*.c test/bench/*.c test/posix/*.c))

# The same programs linked so that no library reaches them: for `onramp run --trap`.
static	:= $(O)/test/static/trap_probe $(O)/test/static/serve $(O)/test/static/load $(O)/test/static-pie/trap_probe

obj	 = $(patsubst %.c,$(O)/o/%.o,$(1))
skel	:= $(patsubst src/bpf/%.bpf.c,$(O)/gen/bpf/%.skel.h,$(bpf_src))

bins	:= $(O)/bin/onramp $(O)/bin/onrampd $(O)/bin/onramp-surrogate $(O)/bin/onramp-bridge $(O)/bin/onramp-trap
units	:= $(patsubst test/%.c,$(O)/test/%,$(unit_src))
models	:= $(patsubst test/%.c,$(O)/test/%,$(model_src))
apps	:= $(patsubst test/%.c,$(O)/test/%,$(app_src))
fuzzers	:= $(patsubst test/fuzz/%.c,$(O)/fuzz/%,$(fuzz_src))
examples := $(patsubst %.c,$(O)/%,$(example_src))
providers := $(patsubst %.c,$(O)/%.so,$(wildcard examples/providers/*.c test/providers/*.c))
ap_lib	:= $(O)/lib/libonramp-aperture

# Where each loader of this machine looks for $LIB of /etc/ld.so.preload: its own libraries' folder. A 32-bit one must
# find something there too, if only a library that does nothing.
chooser	:= $(O)/lib/onramp-chooser.so
chooser32 := $(O)/lib/onramp-chooser32.so
dirs64	:= lib64 $(addprefix lib/,$(shell $(CC) -print-multiarch 2>/dev/null))
dirs32	:= lib lib32 lib/i386-linux-gnu

all: $(bins) $(chooser) $(chooser32) $(O)/lib/libonramp.so $(ap_lib).so $(ap_lib).a $(O)/bin/onramp-sim 
core: $(O)/libcore.a
apps: $(apps) $(static) $(O)/test/bench/raw_echo $(O)/test/posix/child_static examples $(O)/lib/onramp-packetdrill.so
examples: $(examples) $(providers)
units: $(units) $(models)
fuzzers: $(fuzzers)

$(O)/gen/layout_hash.h: dev/layout-hash $(wildcard src/abi/*) src/base/limits.h src/base/types.h $(wildcard src/core/tcp/tcb.h src/core/udp/*.h src/core/ap/ap_area.h src/core/stack/events.def)
	@mkdir -p $(@D)
	dev/layout-hash > $@

$(O)/gen/vmlinux_dep: ; @mkdir -p $(@D) && touch $@

$(O)/gen/bpf/%.bpf.o: src/bpf/%.bpf.c $(wildcard src/bpf/*.h)
	@mkdir -p $(@D)
	$(CLANG) -target bpf -O2 -g -Wall -Werror -Isrc -Isrc/bpf -I/usr/include/$(shell gcc -print-multiarch) -c $< -o $@

$(O)/gen/bpf/%.skel.h: $(O)/gen/bpf/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf > $@.tmp && mv $@.tmp $@

$(O)/gen/calls.inc: src/preload/calls.def dev/gen-preload
	@mkdir -p $(@D)
	dev/gen-preload src/preload/calls.def > $@

$(O)/o/%.o: %.c $(O)/gen/layout_hash.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

# What a send and a receive go through, across folders: the linker joins it in the library, 5 % of a round trip through an
# aperture. Elsewhere these are objects like all others.
hot := src/core/ap/stream.c src/core/ap/lane.c src/core/ap/conn.c src/core/stack/turn.c src/core/stack/sk.c src/core/vif/vif.c \
	src/exec/app.c src/exec/pairs.c src/host/clock.c src/sock/enter.c src/sock/io.c src/sock/msg.c src/sock/fdtab.c
join := $(if $(SAN)$(findstring clang,$(CC)),,-flto -fomit-frame-pointer)
$(call obj,$(hot)): private CFLAGS += $(join) $(if $(join),-ffat-lto-objects)

$(call obj,$(agent_src)): $(skel)
$(O)/o/src/preload/calls.o: $(O)/gen/calls.inc

$(O)/libcore.a: $(call obj,$(core_src))
	@rm -f $@; $(AR) rcs $@ $^
$(O)/libhost.a: $(call obj,$(host_src) $(conf_src))
	@rm -f $@; $(AR) rcs $@ $^
$(O)/libsim.a: $(call obj,$(sim_src))
	@rm -f $@; $(AR) rcs $@ $^

$(O)/lib/libonramp.so: $(call obj,$(lib_src)) $(O)/libhost.a $(O)/libcore.a src/preload/exports.map
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) $(OPT) $(join) -Wl,-z,defs,-z,now,-soname,libonramp.so -Wl,--version-script=src/preload/exports.map -o $@ \
		$(call obj,$(lib_src)) $(O)/libhost.a $(O)/libcore.a -ldl -lpthread

# No libc, no sanitizer, nothing: it is in every program.
$(chooser): $(chooser_src) $(wildcard src/chooser/*.h) src/host/sys.h
	@mkdir -p $(@D)
	$(CC) $(filter-out $(SANFLAGS),$(CFLAGS)) -O2 -ffreestanding -fno-stack-protector -fno-tree-loop-distribute-patterns \
		-shared -nostdlib -Wl,-z,defs,-z,now,-z,initfirst,-soname,onramp-chooser.so -o $@ $(chooser_src)
# Empty where no 32-bit programs can be built: there are none to be run.
$(chooser32):
	@mkdir -p $(@D)
	$(CC) -m32 -shared -nostdlib -x c /dev/null -o $@ 2> /dev/null || : > $@

$(ap_lib).so.0: $(call obj,$(ap_all)) src/aperture/exports.map
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -Wl,-z,defs,-z,now,-soname,libonramp-aperture.so.0 \
		-Wl,--version-script=src/aperture/exports.map -o $@ $(call obj,$(ap_all))
$(ap_lib).so: $(ap_lib).so.0
	ln -sf $(<F) $@
$(ap_lib).a: $(call obj,$(ap_all))
	@mkdir -p $(@D)
	@rm -f $@; $(AR) rcs $@ $^
$(O)/examples/in-place: private LDFLAGS += -Wl,-rpath,'$$ORIGIN/../lib'
$(O)/examples/in-place: $(O)/lib/libonramp.so
$(examples): $(O)/%: $(O)/o/%.o $(ap_lib).a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^

# Whoever writes one has include/ and nothing else of ours.
$(providers): $(O)/%.so: %.c include/onramp/provider.h
	@mkdir -p $(@D)
	$(CC) -g -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -Iinclude -o $@ $<

$(O)/bin/onramp: $(call obj,$(tool_src)) $(O)/libhost.a $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -ljson-c -linih
$(O)/bin/onrampd: $(call obj,$(agent_src)) $(O)/libhost.a $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lxdp -lbpf -lmnl -lseccomp
$(O)/bin/onramp-surrogate: $(call obj,$(surr_src)) $(O)/libhost.a $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lseccomp
$(O)/bin/onramp-bridge: $(call obj,$(bridge_src)) $(O)/libhost.a $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^
$(O)/bin/onramp-trap: $(call obj,$(starter_src))
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -ldl
$(O)/bin/onramp-sim: $(O)/o/sim/main.o $(O)/libsim.a $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lpcap

# The stack as packetdrill's --so_filename loads it (docs/conformance-tcp.md).
$(O)/lib/onramp-packetdrill.so: $(call obj,$(drill_src) src/host/tuning.c) $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -Wl,-z,defs -Wl,-Bsymbolic -o $@ $^ -lpthread

$(O)/test/unit/% $(O)/test/state/%: private LIBS = -lcmocka -lpcap -linih -lpthread
$(O)/test/unit/aperture_api: $(ap_lib).a
$(units): $(O)/test/%: $(O)/o/test/%.o $(O)/libsim.a $(O)/libhost.a $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
# Models put stacks back where they were, behind a sanitizer's back; the code they prove is theirs.
# Small frames, none of them merged: less that is dead makes two states differ.
$(O)/o/test/model/%.o: private SANFLAGS =
$(O)/o/test/model/%.o: private OPT = -O1 -fno-inline
$(models): $(O)/test/%: $(O)/o/test/%.o $(O)/o/test/model/mc.o
	@mkdir -p $(@D)
	$(CC) $(XLDFLAGS) -o $@ $^ -lcmocka
$(apps): $(O)/test/%: $(O)/o/test/%.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lpthread -ldl

# A program into which no library can be put.
$(O)/test/posix/child_static: $(O)/o/test/posix/child.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -static -o $@ $^
$(O)/test/static/trap_probe $(O)/test/static-pie/trap_probe: $(O)/o/test/apps/trap_probe.o
$(O)/test/static/serve: $(O)/o/test/posix/serve.o
$(O)/test/static/load: $(O)/o/test/posix/load.o
$(static):
	@mkdir -p $(@D)
	$(CC) -$(notdir $(@D)) -o $@ $^ -lpthread 2> $@.log || { cat $@.log; exit 1; }
	@rm -f $@.log

# The floor of the benchmarks drives the rings itself, so it is linked with the core.
$(O)/test/bench/raw_echo: $(O)/o/test/bench/raw_echo.o $(O)/libhost.a $(O)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^

# Fuzzers are a build of their own: libFuzzer needs every object instrumented.
$(O)/fuzz/%: test/fuzz/%.c $(core_src) $(host_src) $(O)/gen/layout_hash.h
	@mkdir -p $(@D)
	$(CLANG) $(CFLAGS) -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $< \
		$(core_src) $(host_src) -lpcap

deps:
	dev/deps
check:
	dev/check $(O)
test: deps
	dev/test
nightly: deps
	FUZZ_SECONDS=900 SIM_SEEDS=20000 MIB=1024 KILLS=10000 HOSTILE_SECONDS=600 MODEL_DEEP=1 CPYTHON_ALL=1 CATALOGUE=all PATHS=all \
		DIFFERENTIAL=all IDLE="100000 1.1" dev/test
demo: deps
	@echo "building: a minute or so"
	@$(MAKE) -s all apps
	test/apps/demo-user
	@echo
	test/apps/demo
demo-user: deps
	@echo "building: a minute or so"
	@$(MAKE) -s all apps
	test/apps/demo-user
bench: deps
	@echo "building: a minute or so"
	@$(MAKE) -s all apps
	test/bench/bench
# Files come by a rename: a program that starts meanwhile finds the old one or the new one.
put	 = install -m $(1) $(2) $(3).new && mv -f $(3).new $(3)
libs	 = $(I)/lib/onramp
mans	:= $(wildcard docs/man/*.[13578])
units_sd := onrampd.service onramp-attach@.service
install: all
	install -d $(I)/bin $(I)/sbin $(libs) $(I)/libexec/onramp $(addprefix $(I)/share/man/man,1 3 5 7 8)
	install -d $(I)/include/onramp $(I)/lib/pkgconfig $(I)/lib/systemd/system $(I)/share/doc/onramp
	install -d $(addprefix $(libs)/,$(dirs64)) $(if $(shell test -s $(chooser32) && echo y),$(addprefix $(libs)/,$(dirs32)))
	install -d $(DESTDIR)/etc/onramp/profiles
	$(call put,755,$(O)/bin/onramp,$(I)/bin/onramp)
	$(call put,755,$(O)/bin/onrampd,$(I)/sbin/onrampd)
	for p in onramp-surrogate onramp-bridge onramp-trap; do $(call put,755,$(O)/bin/$$p,$(I)/libexec/onramp/$$p); done
	$(call put,644,$(O)/lib/libonramp.so,$(libs)/libonramp.so)
	for d in $(dirs64); do $(call put,644,$(chooser),$(libs)/$$d/onramp-chooser.so); done
	test ! -s $(chooser32) || for d in $(dirs32); do $(call put,644,$(chooser32),$(libs)/$$d/onramp-chooser.so); done
	install -m 644 include/onramp/*.h $(I)/include/onramp
	install -m 644 $(ap_lib).a $(I)/lib
	$(call put,644,$(ap_lib).so.0,$(I)/lib/libonramp-aperture.so.0)
	ln -sf libonramp-aperture.so.0 $(I)/lib/libonramp-aperture.so
	for f in onramp onramp-aperture; do sed 's|@PREFIX@|$(PREFIX)|;s|@VERSION@|$(VERSION)|' dev/$$f.pc.in > $(I)/lib/pkgconfig/$$f.pc; done
	for f in $(units_sd); do sed 's|@PREFIX@|$(PREFIX)|' dev/$$f.in > $(I)/lib/systemd/system/$$f; done
	install -m 644 dev/programs.conf $(I)/share/doc/onramp/programs.conf
	for p in $(mans); do install -m 644 $$p $(I)/share/man/man$${p##*.}; done
# What every program of the machine loads is taken back first.
uninstall:
	test -n "$(DESTDIR)" || ! grep -qs '$(libs)/.*onramp-chooser.so' /etc/ld.so.preload || \
		{ $(I)/bin/onramp uninstall && ! grep -qs '^[^#]*$(libs)/' /etc/ld.so.preload; }
	rm -f $(I)/bin/onramp $(I)/sbin/onrampd $(I)/lib/libonramp-aperture.a $(I)/lib/libonramp-aperture.so*
	rm -f $(addprefix $(I)/lib/systemd/system/,$(units_sd)) $(I)/lib/pkgconfig/onramp.pc $(I)/lib/pkgconfig/onramp-aperture.pc
	rm -f $(foreach p,$(mans),$(I)/share/man/man$(subst .,,$(suffix $(p)))/$(notdir $(p)))
	rm -rf $(libs) $(I)/libexec/onramp $(I)/include/onramp $(I)/share/doc/onramp
	-rmdir -p --ignore-fail-on-non-empty $(DESTDIR)/etc/onramp/profiles $(I)/lib/pkgconfig $(I)/lib/systemd/system $(I)/bin \
		$(I)/sbin $(I)/libexec $(I)/include $(I)/share/doc $(addprefix $(I)/share/man/man,1 3 5 7 8) 2> /dev/null
clean:
	rm -rf $(O)

.PHONY: all core apps examples units fuzzers deps check test nightly demo demo-user bench clean install uninstall
.SECONDARY:
-include $(shell find $(O)/o -name '*.d' 2>/dev/null)
