// Whether the program was built with AddressSanitizer or ThreadSanitizer, which g++ and clang say
// differently. They count memory of their own, and need malloc and the addresses for themselves.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MIDUS_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MIDUS_SANITIZED 1
#endif
#ifndef MIDUS_SANITIZED
#define MIDUS_SANITIZED 0
#endif
