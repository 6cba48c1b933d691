# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# How tests wait: for what they want to see, not for a time in which it ought to have come.

# eventually SECONDS COMMAND...: until it succeeds. Only for what gives no event. SECONDS is more than a quiet machine takes;
# one that others keep busy has a minute, so that only what never comes fails.
eventually() {
	local end=$((SECONDS + ($1 < 60 ? 60 : $1)))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# once_of COUNT COMMAND...: one of so many tries succeeds. For what measures the time that others take away, too.
once_of() {
	local left=$1
	shift
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || return 1
	done
}

# not COMMAND...: it fails. A `!` of bash's own is no failure of a test unless it stands in its last line.
not() { ! "$@"; }
