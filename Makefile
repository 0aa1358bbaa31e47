# Relearn: one Makefile, not recursive but for variants and for what follows scripts/bootstrap. `make help` lists the targets.
#
# Sources are found by wildcard, so that a new file or folder needs no edit here:
#   common/*.c and schemas/*.avsc             -> build/<variant>/libcommon.a
#   agents/<name>/*.c, less the mains         -> build/<variant>/agents/<name>.a
#   agents/<name>/main.c                      -> build/bin/relearn-<name>  (agents/relearn: build/bin/relearn)
#   agents/<name>/<prog>_main.c               -> build/bin/relearn-<prog>
#   tests/{unit,component,integration}/*.c    -> a program each, linked with what it needs of the archives above and of
#                                                tests/support/*.c; what it defines itself takes the place of theirs
# Knobs, each as `make NAME=value`:
#   CC=clang       the compiler (gcc)               SAN=asan|tsan  a sanitizer build, beside the plain one
#   V=1            show the commands                WERROR=        warnings stay warnings
#   T=unit/test_x  only tests whose path has this   AGENTS="a b"   build only these agents
#   BUILD=folder   another build folder             JOBS=n         how many at once
#   PREFIX DESTDIR where `make install` puts things VARIANT=name   another name for this build's folder

VERSION := 0.1.0
BUILD ?= build
VARIANT ?= $(or $(SAN),plain)
WERROR ?= 1
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
MAKEFLAGS += -rR --no-print-directory $(if $(filter 0,$(MAKELEVEL)),-j$(JOBS))
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' $1 '$2')
OUT := $(BUILD)/$(VARIANT)
BIN := $(if $(filter plain,$(VARIANT)),$(BUILD)/bin,$(OUT)/bin)
PYTHON ?= $(or $(wildcard $(BUILD)/venv/bin/python),python3)
export RELEARN_BIN := $(BIN)
export RELEARN_LIBEXEC := $(abspath $(BIN))
export BUILD PYTHON

# --- libraries: each asked for once; what is missing is named together, when something is about to be compiled ----------
PKGS := rdkafka:librdkafka-dev avro-c:libavro-dev libuv:libuv1-dev sqlite3:libsqlite3-dev libcurl:libcurl4-openssl-dev \
	libmicrohttpd:libmicrohttpd-dev jansson:libjansson-dev yaml-0.1:libyaml-dev libcrypto:libssl-dev \
	xgboost:libxgboost-dev zlib:zlib1g-dev cmocka:libcmocka-dev
ASKED := $(shell command -v pkg-config >/dev/null || echo missing:pkg-config; \
	for p in $(PKGS); do pkg-config --cflags --libs "$${p%:*}" 2>/dev/null || echo "missing:$$p"; done; \
	$(CC) -E -include uthash.h -x c /dev/null >/dev/null 2>&1 || echo missing:uthash-dev)
MISSING := $(foreach m,$(filter missing:%,$(ASKED)),$(lastword $(subst :, ,$m)))
LIBS := -Wl,--as-needed $(filter-out -lcmocka,$(filter -l% -L%,$(ASKED))) -lm
need = $(if $1,$(error missing: $1 -- `scripts/bootstrap` installs what is missing, or: apt-get install $1))

# --- flags --------------------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wvla -Wstrict-prototypes -Wmissing-prototypes $(if $(WERROR),-Werror)
HARD := -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2)
SANFLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
SANFLAGS_tsan := -fsanitize=thread
SANFLAGS_fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
# gcc finds phantoms in instrumented code; the plain build says what is true of these
SANWARN := -Wno-unknown-warning-option -Wno-maybe-uninitialized -Wno-format-truncation -Wno-stringop-overflow
SANFLAGS := $(if $(SAN),$(or $(SANFLAGS_$(SAN)),$(error SAN is asan or tsan, not $(SAN))))
OPT ?= $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2) -g
# RELEARN_TEST: fault points. Tests always see it, the rest in sanitizer builds and VARIANT=fault; it never changes a struct.
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -DRELEARN_VERSION='"$(VERSION)"' $(WARN) $(OPT) -fPIE -pthread $(HARD) $(SANFLAGS) \
	$(if $(SAN),$(SANWARN)) $(if $(SAN)$(filter fault,$(VARIANT)),-DRELEARN_TEST) $(filter -I% -D%,$(ASKED)) $(CFLAGS)
ALL_LDFLAGS = -pie -pthread -Wl,-z,relro,-z,now $(SANFLAGS) $(LDFLAGS)

# --- what there is ------------------------------------------------------------------------------------------------------
AGENTS ?= $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard agents/*/*.c)))))
obj = $(patsubst %.c,$(OUT)/%.o,$(wildcard $1))
not_main = $(filter-out %/main.o %_main.o,$1)
COMMON := $(OUT)/libcommon.a
COMMON_OBJS := $(call obj,common/*.c) $(patsubst %.avsc,$(OUT)/%.o,$(wildcard schemas/*.avsc))
AGENT_OBJS = $(call not_main,$(call obj,agents/$1/*.c))
AGENT_LIBS := $(foreach a,$(AGENTS),$(if $(call AGENT_OBJS,$a),$(OUT)/agents/$a.a))
MAINS := $(wildcard $(AGENTS:%=agents/%/main.c) $(AGENTS:%=agents/%/*_main.c))
folder = $(notdir $(patsubst %/,%,$(dir $1)))
prog = $(BIN)/$(patsubst relearn-relearn,relearn,relearn-$(or $(patsubst %_main.c,%,$(filter %_main.c,$(notdir $1))),$(folder)))
PROGRAMS := $(foreach m,$(MAINS),$(call prog,$m))
SUPPORT := $(OUT)/tests/support.a
pick = $(if $(T),$(foreach t,$1,$(if $(findstring $(T),$t),$t)),$1)
suite = $(call pick,$(patsubst %.c,$(OUT)/%,$(wildcard tests/$1/*.c)))
scripts_in = $(call pick,$(shell find tests/$1 -maxdepth 1 -type f -perm -u+x ! -name '.*' 2>/dev/null | sort))
UNIT := $(call suite,unit)
COMPONENT := $(call suite,component)
INTEGRATION := $(call suite,integration)
FUZZ := $(call suite,fuzz)
BENCH := $(call suite,bench)
SIM := $(OUT)/tests/sim/sim
C_TESTS := $(UNIT) $(COMPONENT) $(INTEGRATION) $(BENCH) $(SIM)
RUN := scripts/run-tests
LABEL := $(if $(SAN),-l $(SAN))

.PHONY: all tests check integration test demo asan tsan fuzz fuzz-run torture sim bench soak lint fmt docs docs-check compdb install dist clean help \
	bootstrap print-cflags print-tests san-run loop FORCE need-libs need-cmocka
.DELETE_ON_ERROR .SECONDARY:

all: $(PROGRAMS) ## build every program into build/bin (the default)
tests: $(C_TESTS) ## build the test programs
need-libs: ; $(call need,$(filter-out libcmocka-dev,$(MISSING)))
need-cmocka: ; $(call need,$(filter libcmocka-dev,$(MISSING)))

# --- rules. Each output is made under another name and renamed, so that two makes in one tree never read half a file ----
$(OUT)/flags: FORCE
	@mkdir -p $(@D) && printf '%s' "$(subst ",,$(CC) $(ALL_CFLAGS))" | cmp -s - $@ || printf '%s' "$(subst ",,$(CC) $(ALL_CFLAGS))" >$@

$(OUT)/%.o: %.c $(OUT)/flags | need-libs
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(if $(filter tests/%,$<),-DRELEARN_TEST) -MMD -MP -MF $(@:.o=.d) -MT $@ \
		-c $< -o $@.$$$$ && mv $@.$$$$ $@ || { rm -f $@.$$$$; false; }

$(OUT)/schemas/%.o: schemas/%.avsc | need-libs
	$(call say,SCHEMA,$<)
	$(Q)mkdir -p $(@D) && ld -r -b binary -z noexecstack -o $@.$$$$ $< && mv $@.$$$$ $@

# an archive follows its list of members too, so that a file that went away leaves it
$(OUT)/%.a.list: FORCE
	@mkdir -p $(@D) && echo $(MEMBERS) | cmp -s - $@ || echo $(MEMBERS) >$@
$(OUT)/%.a: $(OUT)/%.a.list
	$(call say,AR,$@)
	$(Q)rm -f $@.$$$$ && ar rcsD $@.$$$$ $(filter %.o,$^) && mv $@.$$$$ $@

link = $(call say,LINK,$@)$(newline)	$(Q)mkdir -p $(@D) && $(CC) $(ALL_LDFLAGS) -o $@.$$$$ $1 $(LIBS) $2 && mv $@.$$$$ $@
, := ,
define newline


endef
define archive_rules
$1: $2
$1.list: MEMBERS = $2
endef
define program_rules
$(call prog,$1): $(1:%.c=$(OUT)/%.o) $(filter $(OUT)/agents/$(call folder,$1).a,$(AGENT_LIBS)) $(COMMON)
	$$(call link,$$^)
endef
$(eval $(call archive_rules,$(COMMON),$(COMMON_OBJS)))
$(eval $(call archive_rules,$(SUPPORT),$(call obj,tests/support/*.c)))
$(foreach a,$(AGENTS),$(eval $(call archive_rules,$(OUT)/agents/$a.a,$(call AGENT_OBJS,$a))))
$(foreach m,$(MAINS),$(eval $(call program_rules,$m)))

$(SIM): $(call obj,tests/sim/*.c)
$(SIM): private LDFLAGS += -Wl,@tests/sim/wraps
$(C_TESTS) $(FUZZ): %: %.o $(SUPPORT) $(AGENT_LIBS) $(COMMON) | need-cmocka $(filter %/relearn-exec %/relearn-trainer,$(PROGRAMS))
	$(call link,$(filter %.o,$^) -Wl$(,)--start-group $(filter %.a,$^) -Wl$(,)--end-group,-lcmocka $(if $(filter fuzz,$(SAN)),-fsanitize=fuzzer))

ifeq ($(SAN),tsan) # it does not know C11's threads, which are librdkafka's
$(PROGRAMS) $(C_TESTS): $(OUT)/tests/support/tsan_threads.o
export TSAN_OPTIONS := suppressions=$(abspath scripts/tsan.supp)
endif

# --- tests --------------------------------------------------------------------------------------------------------------
check: $(UNIT) $(COMPONENT) ## build and run the unit and component tests
	@$(RUN) $(LABEL) -j $(JOBS) $(UNIT) $(COMPONENT)
integration: all $(INTEGRATION) ## integration tests on the embedded bus (on Kafka: scripts/with-kafka make integration)
	@$(RUN) $(LABEL) $(INTEGRATION)
test: ## install what is missing, then every suite, on the embedded bus and on a real Kafka
	@scripts/bootstrap && $(MAKE) all tests && $(MAKE) VARIANT=fault all && scripts/test-all
asan tsan: ## unit, component and integration tests under ASan and UBSan, or TSan (slower: five times as long may each take)
	@$(MAKE) SAN=$@ san-run
san-run: all $(UNIT) $(COMPONENT) $(INTEGRATION)
	@TIME_FACTOR=$(or $(TIME_FACTOR),5) $(RUN) $(LABEL) -j $(JOBS) $(UNIT) $(COMPONENT) -j 1 $(INTEGRATION)
loop: all ## the whole loop on the embedded bus by this build's programs: SAN=asan loop looks for errors and leaks in all of them
	@scripts/san-loop $(OUT) $(LABEL)
sim: $(SIM) ## histories of all agents on virtual time: SEEDS=n of them, SEED=x one again, PLAN='...' a shortened one (tests/sim/README.md)
	@$(if $(SEED)$(SEEDS)$(PLAN),$(SIM) $(SEED:%=--seed %) $(SEEDS:%=--seeds %) $(if $(PLAN),--plan '$(PLAN)') $(SIMFLAGS),$(RUN) $(LABEL) $(SIM))
fuzz: ## every fuzz target for FUZZ_SECONDS each (clang)
	@$(MAKE) SAN=fuzz CC=clang fuzz-run
fuzz-run: $(FUZZ)
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),10) $(RUN) -j $(JOBS) $(FUZZ)
torture: ## every fault point of every program, once for each fault, on a whole installation (BUS=kafka: on a real Kafka)
	@$(MAKE) VARIANT=fault all && $(if $(filter kafka,$(BUS)),scripts/with-kafka) tests/e2e/torture.py all
bench: all $(BENCH) ## the benchmarks of tests/bench
	@tests/bench/run
soak: all ## a whole installation under load for MINUTES (30) at RATE (2000) events a second: memory and descriptors stay flat
	@$(PYTHON) tests/bench/soak.py --minutes $(or $(MINUTES),30) --rate $(or $(RATE),2000)
demo: ## install what is missing, build, and show the whole loop at work
	@scripts/bootstrap --runtime && $(MAKE) all && $(BIN)/relearn demo
bootstrap: ## install what building, testing and linting need
	@scripts/bootstrap
print-tests: ; @echo '$(call suite,$(SUITE)) $(if $(SUITE),$(call scripts_in,$(SUITE)))'

# --- habits -------------------------------------------------------------------------------------------------------------
lint: ## format, clang-tidy, cppcheck, headers alone, layers, unused exports, shell (scripts/lint --changed: what you changed)
	@scripts/lint
fmt: ## format the sources in place
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format -i
docs: all ## put the option and topic tables that the programs print into the READMEs
	@scripts/docs
docs-check: all ## fail if one of those tables, or a name in that of the proofs, is stale
	@scripts/docs --check && scripts/proofs --check
print-cflags: ; @printf '%s\n' '$(subst ','\'',$(ALL_CFLAGS))'
compdb: ## write compile_commands.json for editors
	@scripts/compdb >compile_commands.json.tmp && mv compile_commands.json.tmp compile_commands.json
install: all ## install into $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/relearn/schemas
	$(if $(PROGRAMS),install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin)
	install -m 644 LICENSE $(wildcard README.md CHANGELOG.md) $(DESTDIR)$(PREFIX)/share/relearn
	$(if $(wildcard schemas/*),install -m 644 $(wildcard schemas/*) $(DESTDIR)$(PREFIX)/share/relearn/schemas)
dist: ## a source tarball of what is committed, in build/
	@mkdir -p $(BUILD) && git archive --prefix=relearn-$(VERSION)/ -o $(BUILD)/relearn-$(VERSION).tar.gz HEAD && ls $(BUILD)/relearn-$(VERSION).tar.gz
clean: ## remove what was built; what was downloaded stays
	@rm -rf $(BUILD)/bin $(BUILD)/test-logs $(BUILD)/lint $(BUILD)/*.tar.gz $(dir $(wildcard $(BUILD)/*/flags))
help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
