// SPDX-License-Identifier: Apache-2.0
// The columns of a confirm that name what is to be loaded.
#pragma once

#include <cstdint>

#include "base/bitmap.h"
#include "jobclient/job_list.h"
#include "wire/messages.h"

namespace holdfast::jobclient {

// When a node should have an object: milliseconds from now, for the object that is read after
// `rank` others, of which `read` have been read. Without a pace (objects_per_s is 0) one object a
// millisecond is assumed: that is no promise, but keeps the order of 4,000,000 objects within a
// u32, and within a job the order is all that counts.
uint32_t NeedByMs(uint32_t rank, uint32_t read, double objects_per_s);

// Fills names, ETags and need_by of `confirm` for every set bit of `load` (over the chunk at
// confirm->first). The names of a chunk lie all over the list, which is in the order of reading:
// texts are prefetched some objects ahead, and copied once.
void FillLoadColumns(const JobList& list, const Bitmap& load, uint32_t read, double objects_per_s,
                     wire::Confirm* confirm);

}  // namespace holdfast::jobclient
