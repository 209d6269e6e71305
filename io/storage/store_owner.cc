// SPDX-License-Identifier: Apache-2.0
#include "io/storage/store_owner.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "io/shm/durable_file.h"

namespace holdfast::storage {
namespace {

constexpr const char* kWord = "holdfast-store";
constexpr uint32_t kOwnerVersion = 1;

}  // namespace

Result<StoreOwner> StoreOwner::Load(const std::string& directory) {
  StoreOwner owner(directory);
  const std::string path = directory + "/owner";
  std::error_code failed;  // what cannot be looked at cannot be read
  if (!std::filesystem::exists(path, failed) && !failed) return owner;
  std::ifstream file(path, std::ios::binary);
  std::string word;
  uint32_t version = 0;
  uint64_t node = 0;
  if (!(file >> word >> version >> node >> owner.epoch_) || word != kWord || node >= kNoNode)
    return Status::Corrupt(path + " does not say whose store it is; is the directory another's?");
  if (version != kOwnerVersion)
    return Status::Invalid(path + " is of version " + std::to_string(version) + ", this program " +
                           "knows " + std::to_string(kOwnerVersion));
  file.get();
  std::getline(file, owner.cluster_);
  owner.node_ = static_cast<NodeId>(node);
  return owner;
}

Result<uint64_t> StoreOwner::Claim(NodeId node, const std::string& cluster, uint64_t opener,
                                   uint64_t epoch) {
  if (node_ != kNoNode && (node != node_ || cluster != cluster_)) {
    return Status::Denied("it is of node " + std::to_string(node_) + " of cluster \"" + cluster_ +
                          "\"");
  }
  if (epoch != 0 && epoch != epoch_) {
    return Status::Denied("a newer process of this node has opened it (epoch " +
                          std::to_string(epoch_) + ", this one had " + std::to_string(epoch) +
                          "); two daemons with the same id?");
  }
  if (epoch == 0 && opener != opener_) {
    StoreOwner next = *this;
    next.node_ = node;
    next.cluster_ = cluster;
    next.epoch_ = epoch_ + 1;
    next.opener_ = opener;
    HF_RETURN_IF_ERROR(next.Save());
    *this = next;
  }
  return epoch_;
}

// Whole or not at all, and durable.
Status StoreOwner::Save() const {
  std::ostringstream text;
  text << kWord << ' ' << kOwnerVersion << ' ' << node_ << ' ' << epoch_ << ' ' << cluster_ << '\n';
  return shm::WriteDurably(directory_, "owner", text.str());
}

}  // namespace holdfast::storage
