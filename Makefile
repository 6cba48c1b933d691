# SPDX-License-Identifier: Apache-2.0
# The front door. meson.build is the house.
CFILES = $(shell git ls-files '*.c' '*.h')

all: build/build.ninja
	ninja -C build

build/build.ninja:
	meson setup build

build-clang/build.ninja:
	CC=clang meson setup build-clang

build-asan/build.ninja:
	CC=clang meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false

build-tsan/build.ninja:
	CC=clang meson setup build-tsan -Db_sanitize=thread -Db_lundef=false

unit: all
	meson test -C build --suite unit --print-errorlogs
	tools/check-layers build

check:
	./check

format:
	clang-format -i $(CFILES)

lint: build-clang/build.ninja
	ninja -C build-clang
	run-clang-tidy -quiet -p build-clang '/(src|tests)/'

asan tsan: %: build-%/build.ninja
	ninja -C build-$*
	meson test -C build-$* --suite unit --print-errorlogs

hooks:
	git config core.hooksPath tools/hooks

.PHONY: all unit check format lint asan tsan hooks
