// SPDX-License-Identifier: Apache-2.0
// A directory on a disk for one test.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace holdfast::disk {

class InDirectory : public testing::Test {
 protected:
  InDirectory() { std::filesystem::create_directories(directory_); }
  ~InDirectory() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  const std::string directory_ = (std::filesystem::temp_directory_path() /
                                  ("holdfast-disk-test-" + std::to_string(::getpid())))
                                     .string();
};

}  // namespace holdfast::disk
