// SPDX-License-Identifier: Apache-2.0
// One GET, HEAD, LIST or PUT on its way through the HTTP store, over all of its attempts.
#pragma once

#include <functional>
#include <string>

#include "base/env.h"
#include "base/uri.h"
#include "io/far/http_request.h"
#include "io/far/verdict.h"

namespace holdfast::far {

struct HttpCall {
  Ask::Kind kind = Ask::Kind::kGet;
  FarGet get;    // of another kind: uri and deadline only
  ListAsk list;  // of a LIST
  ByteView put;  // of a PUT
  // One of the three, by kind.
  std::function<void(Status, FarInfo, uint64_t hash)> on_get;
  std::function<void(Result<FarInfo>)> on_head;  // of a PUT, too
  std::function<void(Result<FarPage>)> on_list;

  FarName name;  // get.uri in parts, once it is here
  Ask ask;       // points into `get` and `name`
  uint32_t attempts = 0;
  bool once_used = false;  // the one retry of Retry::kOnce
  Time retry_at;
  Status last;  // of the attempt before

  // The answer, whichever kind it is of.
  struct Answer {
    Status status;
    FarInfo info;
    uint64_t hash = 0;
    FarPage page;
  };
  // Calls back; on the deciding thread.
  void Finish(Answer answer) {
    if (kind == Ask::Kind::kGet) {
      on_get(std::move(answer.status), std::move(answer.info), answer.hash);
    } else if (kind == Ask::Kind::kHead || kind == Ask::Kind::kPut) {
      on_head(answer.status.ok() ? Result<FarInfo>(std::move(answer.info)) : answer.status);
    } else {
      on_list(answer.status.ok() ? Result<FarPage>(std::move(answer.page)) : answer.status);
    }
  }
};

}  // namespace holdfast::far
