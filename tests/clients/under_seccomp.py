"""Runs a program under a seccomp profile of the form that container runtimes read, as they do.

    under_seccomp.py PROFILE PROGRAM [ARGUMENT...]

For x86-64. Of the conditions on arguments it knows SCMP_CMP_MASKED_EQ.
"""

import ctypes
import json
import os
import re
import struct
import sys

NUMBERS = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
AUDIT_ARCH_X86_64 = 0xC000003E
# seccomp(2): offsets in struct seccomp_data, and what a filter returns.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
KILL, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
# BPF: load a word, jump if equal, and with a constant, return a constant.
LOAD, EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06


def word(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)


def verdict(rule, default):
    if rule["action"] == "SCMP_ACT_ALLOW":
        return ALLOW
    assert rule["action"] == "SCMP_ACT_ERRNO", rule["action"]
    return ERRNO | rule.get("errnoRet", default)


def of_arguments(conditions, given, otherwise):
    """`given` if the conditions hold: each half of an argument by itself, for BPF has 32 bits."""
    tests = []
    for condition in conditions:
        assert condition["op"] == "SCMP_CMP_MASKED_EQ", condition["op"]
        for half in (0, 1):
            mask = condition["value"] >> 32 * half & 0xFFFFFFFF
            expected = condition["valueTwo"] >> 32 * half & 0xFFFFFFFF
            tests.append((ARGUMENTS + 8 * condition["index"] + 4 * half, mask, expected))
    program = b""
    for left, (offset, mask, expected) in zip(range(len(tests), 0, -1), tests):
        program += word(LOAD, offset) + word(AND, mask) + word(EQUAL, expected, 0, 3 * (left - 1) + 1)
    return program + word(RETURN, given) + word(RETURN, otherwise)


def compiled(profile, numbers):
    default = profile.get("defaultErrnoRet", 1)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    program = word(LOAD, ARCHITECTURE) + word(EQUAL, AUDIT_ARCH_X86_64, 1) + word(RETURN, KILL)
    for rule in profile["syscalls"]:
        body = of_arguments(rule.get("args", []), verdict(rule, default), ERRNO | default)
        for name in rule["names"]:
            # As a runtime does: what another architecture has is left out.
            if name in numbers:
                length = len(body) // 8
                program += word(LOAD, NUMBER) + word(EQUAL, numbers[name], 0, length) + body
    return program + word(RETURN, ERRNO | default)


def main():
    with open(NUMBERS) as header:
        pairs = re.findall(r"#define __NR_(\w+) (\d+)", header.read())
    with open(sys.argv[1]) as profile:
        program = compiled(json.load(profile), {name: int(number) for name, number in pairs})
    text = ctypes.create_string_buffer(program, len(program))
    filter_program = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(filter_program), 0, 0),
    ):
        if libc.prctl(*(ctypes.c_ulong(value) for value in request)) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execv(sys.argv[2], sys.argv[2:])


main()
