// SPDX-License-Identifier: BSL-1.0
//
// The files of the kit: whole files that are read at once, and replaced at once.

#ifndef BLKOWN_SIM_RUNNER_KIT_FILE_HPP
#define BLKOWN_SIM_RUNNER_KIT_FILE_HPP

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#include <blkown/config.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The folder of a path, for opening.
[[nodiscard]] inline std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}
/// The file that a link names, or the path itself.
[[nodiscard]] inline std::string linked_path(const std::string& path) {
  char* const found = realpath(path.c_str(), nullptr);
  if (found == nullptr) return path;
  std::string its{found};
  std::free(found);
  return its;
}

/// Why the file cannot be replaced, or an empty text.
[[nodiscard]] inline std::string check_replaceable(const std::string& path) {
  struct stat its{};
  if (stat(path.c_str(), &its) == 0 && !S_ISREG(its.st_mode)) return "it is no regular file";
  const std::string folder = folder_of(linked_path(path));
  if (stat(folder.c_str(), &its) != 0 || access(folder.c_str(), W_OK | X_OK) != 0) {
    return "its folder cannot be written: " + std::string{std::strerror(errno)};
  }
  return S_ISDIR(its.st_mode) ? "" : "its folder is no folder";
}

/// The content of the file. A file that does not exist is empty.
/// Errors: what is wrong.
[[nodiscard]] inline std::expected<std::string, std::string> read_whole(const std::string& path,
                                                                        std::size_t max_size) {
  struct stat its{};
  if (stat(path.c_str(), &its) != 0 && errno == ENOENT) return std::string{};
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return std::unexpected{std::string{std::strerror(errno)}};
  std::string content(max_size + 1, '\0');
  content.resize(std::fread(content.data(), 1, content.size(), file));
  const bool is_bad = std::ferror(file) != 0;
  const int error = errno;
  std::fclose(file);
  if (is_bad) return std::unexpected{std::string{std::strerror(error)}};
  if (content.size() > max_size) {
    return std::unexpected{"it has more than " + std::to_string(max_size) + " bytes"};
  }
  return content;
}

/// Replaces the content of the file at once: a reader finds the former content or the new one, also
/// after a crash. Keeps the file's mode.
/// Errors: what is wrong, or an empty text.
[[nodiscard]] inline std::string replace_whole(const std::string& link, std::string_view content) {
  const std::string path = linked_path(link);
  struct stat its{};
  const mode_t mode = stat(path.c_str(), &its) == 0 ? its.st_mode & 0777 : 0644;
  std::string name = path + ".XXXXXX";
  const int file = mkstemp(name.data());
  if (file < 0) return std::strerror(errno);
  bool is_good = true;
  while (is_good && !content.empty()) {
    const ssize_t count = write(file, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    is_good = count > 0;
    if (is_good) content.remove_prefix(static_cast<std::size_t>(count));
  }
  is_good = is_good && fchmod(file, mode) == 0 && fsync(file) == 0;
  std::string problem = is_good ? "" : std::strerror(errno);
  close(file);
  if (is_good && std::rename(name.c_str(), path.c_str()) != 0) problem = std::strerror(errno);
  if (!problem.empty()) unlink(name.c_str());
  return problem;
}

/// Keeps other processes out that lock the same folder.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path)
      : folder_{open(folder_of(linked_path(path)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)} {
    // Where a folder cannot be locked, the processes of one program still do not meet.
    while (folder_ >= 0 && flock(folder_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (folder_ >= 0) close(folder_);
  }

 private:
  int folder_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
