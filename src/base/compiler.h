/* SPDX-License-Identifier: BSD-2-Clause */
/* The only place that spells compiler attributes. */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#define must_check	__attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define noreturn_fn	__attribute__((noreturn))
#define cold_fn		__attribute__((cold))
#define aligned8	__attribute__((aligned(8)))
#define cacheline_aligned __attribute__((aligned(64)))
#define fallthrough	__attribute__((fallthrough))
#define target_isa(isa)	__attribute__((target(isa)))
#define starts_library	__attribute__((constructor))
#define ends_library	__attribute__((destructor))
#define weak_symbol	__attribute__((weak))	/* NULL where nobody defines it */
#define unused_arg	__attribute__((unused))
#define exported	__attribute__((visibility("default")))
/* f(&var) when var goes out of scope. */
#define on_leaving(f)	__attribute__((cleanup(f)))
/* Thread-local, and no call to reach it: the library is loaded at start. */
#define thread_fast	__thread __attribute__((tls_model("initial-exec")))
#define symbol_name(s)	__asm__(s)	/* the linker's name of a function, whatever C calls it */
#define packed_wire	__attribute__((packed))
#define tls_fast	__attribute__((tls_model("initial-exec")))	/* no call per access */
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define n_elems(a)	(sizeof(a) / sizeof((a)[0]))

#endif
