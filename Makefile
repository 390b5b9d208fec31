# Kata's make interface: the targets, variables and file names of its tools/osbuilder.
#
#   make image AGENT=probe                     kata-containers.img, with the bundled stand-in agent
#   make initrd AGENT=probe AGENT_INIT=yes     kata-containers-initrd.img
#   make rootfs AGENT_SOURCE_BIN=/path/to/agent DISTRO=ubuntu
#   make test                                  every check
#
# Variables given here or in the environment reach osbuilder as they are. Under sudo, what is built
# belongs to the caller.

# Debian's stable release: every processor of Kata's, updates and a security archive.
DISTRO ?= debian
BUILD_METHOD ?= distro
AGENT_INIT ?= no
# What reaches the scripts for the distribution $(1): what is given, or what starts it usually.
usual-init = $(if $(filter alpine,$(1)),yes,$(AGENT_INIT))
agent-init = $(if $(filter file,$(origin AGENT_INIT)),$(usual-init),$(AGENT_INIT))
# Whether units that a guest does not need are removed: yes or no. Kata's own images keep them.
PRUNE ?= no
OSBUILDER_USE_CHRONIC ?=
CARGO ?= cargo

ROOTFS_BUILD_DEST := $(CURDIR)
IMAGES_BUILD_DEST := $(CURDIR)
ROOTFS_MARKER_SUFFIX := _rootfs.done
TARGET_ROOTFS := $(ROOTFS_BUILD_DEST)/$(DISTRO)_rootfs
TARGET_ROOTFS_MARKER := $(ROOTFS_BUILD_DEST)/.$(DISTRO)$(ROOTFS_MARKER_SUFFIX)
TARGET_IMAGE := $(IMAGES_BUILD_DEST)/kata-containers.img
TARGET_INITRD := $(IMAGES_BUILD_DEST)/kata-containers-initrd.img

VERSION_FILE := ./VERSION
VERSION := $(or $(shell sed -e '/^\#/d' -e q $(VERSION_FILE) 2>/dev/null),unknown)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
DIRTY := $(if $(shell git status --porcelain --untracked-files=no 2>/dev/null),-dirty)
VERSION_COMMIT := $(VERSION)$(if $(COMMIT),-$(COMMIT)$(DIRTY))

DESTDIR := /
KATADIR := /usr/libexec/kata-containers
OSBUILDER_DIR := $(KATADIR)/osbuilder
INSTALL_DIR := $(DESTDIR)/$(OSBUILDER_DIR)

ifneq ($(BUILD_METHOD),distro)
$(error BUILD_METHOD=$(BUILD_METHOD) is not supported; the only method is "distro")
endif

CHRONIC := $(if $(OSBUILDER_USE_CHRONIC),chronic)

# The compiler's output and the markers belong to whoever called sudo, not to root.
GIVE_TO_CALLER := :
ifneq ($(SUDO_UID),)
ifeq ($(shell id -u),0)
CALLER_HOME := $(shell getent passwd $(SUDO_UID) | cut -d: -f6)
AS_CALLER := setpriv --reuid=$(SUDO_UID) --regid=$(SUDO_GID) --init-groups \
	env HOME="$(CALLER_HOME)" PATH="$(CALLER_HOME)/.cargo/bin:$(PATH)"
GIVE_TO_CALLER := chown $(SUDO_UID):$(SUDO_GID)
endif
endif

# Where the program comes from: $OSBUILDER, an installed copy beside this file, or cargo.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
ifneq ($(OSBUILDER)$(wildcard ./osbuilder),)
BUILD_PROGRAM :=
else
BUILD_PROGRAM := build-program
endif

# A rootfs or image is made anew when one of these has another value than the last time.
ROOTFS_SETTINGS := AGENT AGENT_BIN AGENT_INIT AGENT_POLICY AGENT_POLICY_FILE AGENT_SOURCE_BIN \
	AGENT_TARBALL AGENT_VERSION ARCH COCO_GUEST_COMPONENTS_TARBALL CONFIDENTIAL_GUEST EXTRA_PKGS \
	GUEST_HOOKS_TARBALL KATA_REPO KERNEL_MODULES_DIR OS_NAME OS_VERSION PAUSE_IMAGE_TARBALL PRUNE \
	REPO_COMPONENTS REPO_URL REPO_URL_X86_64 ROOTFS_ONLY SECCOMP SOURCE_DATE_EPOCH
IMAGE_SETTINGS := AGENT_BIN AGENT_INIT BLOCK_SIZE BUILD_VARIANT FS_TYPE IMAGE_SIZE_ALIGNMENT_MB \
	MEASURED_ROOTFS ROOT_FREE_SPACE SELINUX SKIP_DAX_HEADER SKIP_ROOTFS_CHECK SOURCE_DATE_EPOCH
ROOTFS_STAMP := $(ROOTFS_BUILD_DEST)/.osbuilder-rootfs.settings
IMAGE_STAMP := $(IMAGES_BUILD_DEST)/.osbuilder-image.settings
AGENT_FILES := $(wildcard $(AGENT_SOURCE_BIN) $(AGENT_TARBALL) $(AGENT_POLICY_FILE) \
	$(COCO_GUEST_COMPONENTS_TARBALL) $(GUEST_HOOKS_TARBALL) $(PAUSE_IMAGE_TARBALL))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

.PHONY: all
all: image initrd

.PHONY: rootfs
rootfs: $(TARGET_ROOTFS_MARKER)

rootfs-%: $(ROOTFS_BUILD_DEST)/.%$(ROOTFS_MARKER_SUFFIX)
	@:

.PHONY: image
image: $(TARGET_IMAGE)

image-%: $(IMAGES_BUILD_DEST)/kata-containers-image-%.img
	@:

.PHONY: initrd
initrd: $(TARGET_INITRD)

initrd-%: $(IMAGES_BUILD_DEST)/kata-containers-initrd-%.img
	@:

.PRECIOUS: $(ROOTFS_BUILD_DEST)/.%$(ROOTFS_MARKER_SUFFIX)
$(ROOTFS_BUILD_DEST)/.%$(ROOTFS_MARKER_SUFFIX): $(ROOTFS_STAMP) $(AGENT_FILES) | $(BUILD_PROGRAM)
	AGENT_INIT=$(call agent-init,$*) $(CHRONIC) rootfs-builder/rootfs.sh -o $(VERSION_COMMIT) \
		$(if $(filter yes,$(PRUNE)),-d) -r $(ROOTFS_BUILD_DEST)/$*_rootfs $*
	@touch $@ && $(GIVE_TO_CALLER) $@

$(TARGET_IMAGE): $(TARGET_ROOTFS_MARKER) $(IMAGE_STAMP) | $(BUILD_PROGRAM)
	AGENT_INIT=$(call agent-init,$(DISTRO)) $(CHRONIC) image-builder/image_builder.sh -o $@ \
		$(TARGET_ROOTFS)

$(TARGET_INITRD): $(TARGET_ROOTFS_MARKER) $(IMAGE_STAMP) | $(BUILD_PROGRAM)
	AGENT_INIT=$(call agent-init,$(DISTRO)) $(CHRONIC) initrd-builder/initrd_builder.sh -o $@ \
		$(TARGET_ROOTFS)

.PRECIOUS: $(IMAGES_BUILD_DEST)/kata-containers-image-%.img
$(IMAGES_BUILD_DEST)/kata-containers-image-%.img: $(ROOTFS_BUILD_DEST)/.%$(ROOTFS_MARKER_SUFFIX) \
		$(IMAGE_STAMP) | $(BUILD_PROGRAM)
	AGENT_INIT=$(call agent-init,$*) $(CHRONIC) image-builder/image_builder.sh -o $@ \
		$(ROOTFS_BUILD_DEST)/$*_rootfs

.PRECIOUS: $(IMAGES_BUILD_DEST)/kata-containers-initrd-%.img
$(IMAGES_BUILD_DEST)/kata-containers-initrd-%.img: $(ROOTFS_BUILD_DEST)/.%$(ROOTFS_MARKER_SUFFIX) \
		$(IMAGE_STAMP) | $(BUILD_PROGRAM)
	AGENT_INIT=$(call agent-init,$*) $(CHRONIC) initrd-builder/initrd_builder.sh -o $@ \
		$(ROOTFS_BUILD_DEST)/$*_rootfs

# Rewrites a list of settings only when one of them has changed.
define note-settings
@{ $(foreach name,$(1),printf '%s=%s\n' $(name) "$$$(name)";) } > $@.new
@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@ && $(GIVE_TO_CALLER) $@; fi
endef

# What the environment or the command line gives is exported without a word; only the defaults need
# one. A variable that nobody set stays unset: dpkg refuses an empty SOURCE_DATE_EPOCH, for one.
export PRUNE

$(ROOTFS_STAMP): always
	$(call note-settings,$(ROOTFS_SETTINGS))

$(IMAGE_STAMP): always
	$(call note-settings,$(IMAGE_SETTINGS))

.PHONY: always
always:

# The program, and beside it the stand-in agent: static, so that it runs in any guest, and named
# after the processor. Naming the target keeps the static flag away from what runs while compiling.
HOST_TRIPLE = $(shell $(AS_CALLER) rustc -vV | sed -n 's/^host: //p')
QUIET = $(if $(wildcard $(TARGET_DIR)/release/guest-probe-*),--quiet)

# For another processor, the stand-in needs that one's standard library, which rustup brings. Where
# Rust has a C library too, Rust's own linker is enough; else Debian's cross compiler links
# (gcc-powerpc64le-linux-gnu, gcc-s390x-linux-gnu).
FOREIGN := $(filter-out $(shell uname -m),$(ARCH))
LINK_x86_64 := x86_64-unknown-linux-musl rust-lld
LINK_aarch64 := aarch64-unknown-linux-musl rust-lld
LINK_ppc64le := powerpc64le-unknown-linux-gnu powerpc64le-linux-gnu-gcc
LINK_s390x := s390x-unknown-linux-gnu s390x-linux-gnu-gcc
FOREIGN_TARGET := $(firstword $(LINK_$(FOREIGN)))
FOREIGN_LINKER := $(lastword $(LINK_$(FOREIGN)))
ifneq ($(FOREIGN_TARGET),)
define BUILD_FOREIGN_PROBE
$(AS_CALLER) rustup --quiet target add $(FOREIGN_TARGET)
$(AS_CALLER) env RUSTFLAGS="-C target-feature=+crt-static -C linker=$(FOREIGN_LINKER)" \
	$(CARGO) build $(QUIET) --release --locked --package guest-probe --target $(FOREIGN_TARGET) \
	--target-dir $(TARGET_DIR)/static
$(AS_CALLER) cp $(TARGET_DIR)/static/$(FOREIGN_TARGET)/release/guest-probe \
	$(TARGET_DIR)/release/guest-probe-$(FOREIGN)
endef
endif

.PHONY: program build-program
program build-program:
	$(AS_CALLER) $(CARGO) build $(QUIET) --release --locked
	$(AS_CALLER) env RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build $(QUIET) --release \
		--locked --package guest-probe --target $(HOST_TRIPLE) --target-dir $(TARGET_DIR)/static
	$(AS_CALLER) cp $(TARGET_DIR)/static/$(HOST_TRIPLE)/release/guest-probe \
		$(TARGET_DIR)/release/guest-probe-$(shell uname -m)
	$(BUILD_FOREIGN_PROBE)

.PHONY: list-distros
list-distros: | $(BUILD_PROGRAM)
	@rootfs-builder/rootfs.sh -l

# As ever: of the current DISTRO only.
.PHONY: clean
clean:
	rm -rf $(TARGET_ROOTFS_MARKER) $(TARGET_ROOTFS) $(TARGET_ROOTFS).osbuilder-owners \
		$(TARGET_IMAGE) $(TARGET_INITRD) $(ROOTFS_STAMP) $(IMAGE_STAMP)

SCRIPTS := rootfs-builder/rootfs.sh image-builder/image_builder.sh initrd-builder/initrd_builder.sh

.PHONY: install-scripts
install-scripts: | $(BUILD_PROGRAM)
	for script in $(SCRIPTS); do install -D -m 755 $$script $(INSTALL_DIR)/$$script || exit; done
	install -D -m 644 scripts/lib.sh $(INSTALL_DIR)/scripts/lib.sh
	install -D -m 755 $(or $(OSBUILDER),$(wildcard ./osbuilder),$(TARGET_DIR)/release/osbuilder) \
		$(INSTALL_DIR)/osbuilder
	for probe in $(TARGET_DIR)/release/guest-probe-*; do \
		[ ! -f $$probe ] || install -m 755 $$probe $(INSTALL_DIR)/ || exit; done

print-%:
	@echo $($*)

# The developers' tasks; more of them: cargo xtask
.PHONY: test bench
test bench:
	$(AS_CALLER) $(CARGO) xtask $@
