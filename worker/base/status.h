#pragma once

#include <cstdlib>
#include <iostream>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expr` from this function if it is not OK.
#define RETURN_IF_ERROR(expr)                       \
  do {                                              \
    if (::absl::Status graft_status_ = (expr);      \
        !graft_status_.ok())                        \
      return graft_status_;                         \
  } while (false)

#define GRAFT_CONCAT_INNER_(a, b) a##b
#define GRAFT_CONCAT_(a, b) GRAFT_CONCAT_INNER_(a, b)

// Evaluates a StatusOr: assigns its value to `lhs` (which may declare it), or returns its status from this function.
#define ASSIGN_OR_RETURN(lhs, expr) ASSIGN_OR_RETURN_INNER_(GRAFT_CONCAT_(graft_status_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_INNER_(var, lhs, expr) \
  auto var = (expr);                            \
  if (!var.ok()) return var.status();           \
  lhs = *std::move(var)

// Aborts when an invariant of ours is broken. Input, files, devices and time never make it fail: they return Status.
#define GRAFT_CHECK(condition)                                                                       \
  do {                                                                                               \
    if (!(condition)) {                                                                              \
      std::cerr << __FILE__ << ":" << __LINE__ << ": broken invariant: " #condition << std::endl;    \
      std::abort();                                                                                  \
    }                                                                                                \
  } while (false)
