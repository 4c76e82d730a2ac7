// SPDX-License-Identifier: BSL-1.0
//
// Destination: the file to write. The file has a temporary name until the copy is complete.

#ifndef URING_COPY_DESTINATION_HPP
#define URING_COPY_DESTINATION_HPP

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <expected>
#include <filesystem>
#include <string>
#include <utility>

#include "problem.hpp"
#include "source.hpp"

namespace uring_copy {

/// A temporary file in the destination's directory. The destructor removes the file unless
/// take_name() has renamed it. The destination is not touched before take_name().
class Destination {
 public:
  [[nodiscard]] static std::expected<Destination, Problem> create(const std::string& path,
                                                                  const Source& source) {
    const auto target = follow(path);
    if (!target) return std::unexpected(target.error());
    struct stat there{};
    if (stat(target->c_str(), &there) == 0) {
      if (const auto usable = check_replaceable(path, there, source); !usable) {
        return std::unexpected(usable.error());
      }
    } else if (errno != ENOENT) {
      return std::unexpected(system_problem(path, "cannot examine it", errno));
    }

    const std::filesystem::path name{*target};
    if (!name.has_filename()) {
      return std::unexpected(Problem{path + ": names a directory; name the file to write"});
    }
    const std::string directory = name.has_parent_path() ? name.parent_path().string() : ".";
    // A short name, which the file system accepts however long the destination's name is.
    std::string temporary = directory + "/.uring_copy-XXXXXX";
    File file{mkostemp(temporary.data(), O_CLOEXEC)};
    if (file.fd() < 0) {
      return std::unexpected(
          system_problem(path, "cannot create a temporary file beside it", errno));
    }
    return Destination{std::move(file), path, *target, directory, temporary, mode_for(source)};
  }

  Destination(Destination&& other) noexcept
      : file_{std::move(other.file_)},
        path_{std::move(other.path_)},
        target_{std::move(other.target_)},
        directory_{std::move(other.directory_)},
        temporary_{std::exchange(other.temporary_, {})},
        mode_{other.mode_} {}
  Destination& operator=(Destination&&) = delete;
  ~Destination() {
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }

  [[nodiscard]] int fd() const noexcept { return file_.fd(); }
  /// The destination's name, as the user gave it.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& temporary_path() const noexcept { return temporary_; }

  /// Writes the bytes and the permissions to the medium, and checks the file's size.
  [[nodiscard]] std::expected<void, Problem> finish(std::uint64_t size_bytes) {
    struct stat written{};
    if (fchmod(fd(), mode_) != 0 || fsync(fd()) != 0 || fstat(fd(), &written) != 0) {
      return std::unexpected(system_problem(path_, "cannot bring it to the medium", errno));
    }
    if (static_cast<std::uint64_t>(written.st_size) != size_bytes) {
      return std::unexpected(Problem{path_ + ": the copy has " + std::to_string(written.st_size) +
                                     " bytes instead of " + std::to_string(size_bytes) +
                                     "; something else writes to " + temporary_});
    }
    return {};
  }

  /// Renames the file to the destination's name and replaces an old destination.
  /// Precondition: finish() has succeeded.
  [[nodiscard]] std::expected<void, Problem> take_name() {
    if (const int error = file_.close_now(); error != 0) {
      return std::unexpected(system_problem(path_, "cannot close it", error));
    }
    if (std::rename(temporary_.c_str(), target_.c_str()) != 0) {
      return std::unexpected(system_problem(path_, "cannot take its name", errno));
    }
    temporary_.clear();
    // The new name is on the medium after an fsync of the directory. Some file systems do not
    // support that and return EINVAL.
    const File directory{open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (directory.fd() < 0 || (fsync(directory.fd()) != 0 && errno != EINVAL)) {
      return std::unexpected(system_problem(
          path_, "copied, but its name may not outlive a power failure; run sync", errno));
    }
    return {};
  }

 private:
  Destination(File file, std::string path, std::string target, std::string directory,
              std::string temporary, mode_t mode)
      : file_{std::move(file)},
        path_{std::move(path)},
        target_{std::move(target)},
        directory_{std::move(directory)},
        temporary_{std::move(temporary)},
        mode_{mode} {}

  /// The file to replace. A symbolic link is followed.
  [[nodiscard]] static std::expected<std::string, Problem> follow(const std::string& path) {
    struct stat link{};
    if (lstat(path.c_str(), &link) != 0 || !S_ISLNK(link.st_mode)) return path;
    std::error_code error;
    const std::filesystem::path target = std::filesystem::canonical(path, error);
    if (error) {
      return std::unexpected(Problem{path + ": a symbolic link that leads nowhere (" +
                                     error.message() + "); remove it, or name the file itself"});
    }
    return target.string();
  }

  [[nodiscard]] static std::expected<void, Problem> check_replaceable(const std::string& path,
                                                                      const struct stat& there,
                                                                      const Source& source) {
    if (S_ISDIR(there.st_mode)) {
      return std::unexpected(Problem{path + ": is a directory; name the file to write"});
    }
    if (!S_ISREG(there.st_mode)) {
      return std::unexpected(
          Problem{path + ": not a regular file, and only those are replaced; name another"});
    }
    if (there.st_dev == source.status().st_dev && there.st_ino == source.status().st_ino) {
      return std::unexpected(
          Problem{path + ": is the same file as " + source.path() + "; name another destination"});
    }
    return {};
  }

  /// The permissions of the copy: those of a regular source, or 0666 for a block device, without
  /// set-id bits and without the umask's bits.
  [[nodiscard]] static mode_t mode_for(const Source& source) {
    const mode_t mask = umask(0);
    umask(mask);
    const mode_t mode = source.status().st_mode;
    return (S_ISREG(mode) ? mode & 0777 : 0666) & ~mask;
  }

  File file_;
  std::string path_;
  std::string target_;
  std::string directory_;
  std::string temporary_;
  mode_t mode_;
};

}  // namespace uring_copy

#endif
