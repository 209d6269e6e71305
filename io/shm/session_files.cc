// SPDX-License-Identifier: Apache-2.0
#include "io/shm/session_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>

#include "io/shm/access.h"
#include "io/shm/truncation_guard.h"
#include "wire/local_reader.h"

namespace holdfast::shm {
namespace {

constexpr Duration kConfirmWithin = 10s;
constexpr std::string_view kPrefix = "session-";

// Is the first byte locked by another process?
bool Locked(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 0;
  lock.l_len = 1;
  // An error leaves the session alone: a leaked pin is better than bytes that change under a view.
  return ::fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

// 0 for a name that is not a session's.
uint32_t NumberIn(std::string_view name) {
  if (!name.starts_with(kPrefix)) return 0;
  name.remove_prefix(kPrefix.size());
  uint32_t number = 0;
  auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  bool whole = parsed.ec == std::errc() && parsed.ptr == name.data() + name.size();
  return whole && number <= kMaxSessions ? number : 0;
}

}  // namespace

Result<std::unique_ptr<SessionFiles>> SessionFiles::Open(SessionFilesOptions options) {
  std::unique_ptr<SessionFiles> files(new SessionFiles(std::move(options)));
  HF_RETURN_IF_ERROR(MakePrivateDirectory(files->options_.directory, std::nullopt));
  HF_RETURN_IF_ERROR(files->Scan());
  return files;
}

SessionFiles::~SessionFiles() {
  for (auto& [id, session] : sessions_) {
    Unguard(session.memory);
    ::munmap(session.memory.data(), session.memory.size());
  }
}

std::string SessionFiles::PathOf(uint32_t session) const {
  return options_.directory + "/" + std::string(kPrefix) + std::to_string(session);
}

Status SessionFiles::Scan() {
  DIR* directory = ::opendir(options_.directory.c_str());
  if (directory == nullptr) return ErrnoStatus("cannot list " + options_.directory);
  std::set<uint32_t> found;  // sessions are attached in the order of their numbers
  while (const dirent* entry = ::readdir(directory)) found.insert(NumberIn(entry->d_name));
  ::closedir(directory);
  found.erase(0);
  for (uint32_t session : found) Readopt(session);
  return {};
}

void SessionFiles::Readopt(uint32_t id) {
  std::string path = PathOf(id);
  Session session;
  session.fd = Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  bool alive = session.fd && Locked(session.fd.get());
  if (alive) {
    Status mapped = Map(&session);
    if (mapped.ok()) {
      session.attached = true;
      auto at = sessions_.emplace(id, std::move(session)).first;
      options_.attach(id, at->second.memory);
      return;
    }
    if (options_.log != nullptr) options_.log->Warn("dropped a session: " + mapped.ToString());
  }
  ::unlink(path.c_str());
}

Status SessionFiles::Map(Session* session) const {
  struct stat info;
  if (::fstat(session->fd.get(), &info) != 0 ||
      static_cast<uint64_t>(info.st_size) != session_bytes()) {
    return Status::Corrupt("a session file in " + options_.directory + " has a wrong size");
  }
  void* at =
      ::mmap(nullptr, session_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, session->fd.get(), 0);
  if (at == MAP_FAILED) return ErrnoStatus("cannot map a session file");
  session->memory = {static_cast<std::byte*>(at), session_bytes()};
  if (!Guard(session->memory)) {
    ::munmap(at, session_bytes());
    return Status::NoSpace("too many sessions in this process");
  }
  return {};
}

Result<SessionFiles::Created> SessionFiles::Create(uint32_t pid, Time now) {
  uint32_t id = 1;
  while (sessions_.contains(id)) ++id;
  if (id > kMaxSessions) {
    return Status::NoSpace("this node has " + std::to_string(kMaxSessions) +
                           " sessions, its limit; end some of the processes that read from it");
  }
  std::string path = PathOf(id);
  ::unlink(path.c_str());
  Session session;
  session.created = now;
  session.fd = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!session.fd) return ErrnoStatus("cannot create " + path);
  int error = ::posix_fallocate(session.fd.get(), 0, static_cast<off_t>(session_bytes()));
  Status made = error == 0 ? Map(&session) : ErrnoStatus("cannot allocate " + path, error);
  if (!made.ok()) {
    ::unlink(path.c_str());
    return made;
  }
  FormatSession(session.memory, id, options_.segments, options_.incarnation, pid);
  int fd = session.fd.get();
  sessions_.emplace(id, std::move(session));
  return Created{.session = id, .fd = fd};
}

Status SessionFiles::Confirm(uint32_t id) {
  auto at = sessions_.find(id);
  if (at == sessions_.end() || at->second.attached || !Locked(at->second.fd.get())) {
    return Status::Invalid("session " + std::to_string(id) + " is not locked by its client");
  }
  at->second.attached = true;
  options_.attach(id, at->second.memory);
  return {};
}

void SessionFiles::Abandon(uint32_t id) {
  auto at = sessions_.find(id);
  if (at != sessions_.end() && !at->second.attached) Remove(at);
}

void SessionFiles::Sweep(Time now) {
  for (auto at = sessions_.begin(); at != sessions_.end();) {
    auto session = at++;
    bool dead = session->second.attached ? !Locked(session->second.fd.get())
                                         : now - session->second.created > kConfirmWithin;
    if (dead) Remove(session);
  }
}

void SessionFiles::Remove(std::map<uint32_t, Session>::iterator session) {
  if (session->second.attached) options_.detach(session->first);
  ::unlink(PathOf(session->first).c_str());
  Unguard(session->second.memory);
  ::munmap(session->second.memory.data(), session->second.memory.size());
  sessions_.erase(session);
}

size_t SessionFiles::attached() const {
  return static_cast<size_t>(std::count_if(sessions_.begin(), sessions_.end(),
                                           [](const auto& s) { return s.second.attached; }));
}

}  // namespace holdfast::shm
