// SPDX-License-Identifier: BSL-1.0
//
// DiskRef: a reference to a disk that is revoked when the disk is removed.
//
// Parties: a disk; the holders of its DiskRefs, such as the driver's data for the disk, a device's
// thread or a control socket; the removal.
//
//   DiskRef      a copyable reference, which keeps no disk alive. Disk::ref() gives one, also to
//                the hook init_hctx, while Disk::create is running.
//   try_access   gives a DiskAccess, through which the disk is used, or an empty one if the
//                reference was revoked, or if Disk::create has not made the disk yet.
//   revoke       the removal refuses further accesses once it has waited for the requests, and then
//                waits until the accesses that it finds have ended.
//
// Guarantees: while a DiskAccess exists, the disk exists and its removal has not ended. A DiskRef
// may outlive the disk. Nobody has to tell the holders that the disk is removed.
//
// A removal waits by running the disk's contexts, so an access is short, as a critical section of
// RCU is: a thread that waits for the removal, or for a context, inside an access waits for ever.
// Source: the kernel's Revocable, and the back reference to a gendisk in Linux's Rust drivers.

#ifndef BLKOWN_MQ_DISK_REF_HPP
#define BLKOWN_MQ_DISK_REF_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/detail/call_gate.hpp>
#include <blkown/mq/detail/fwd.hpp>
#include <blkown/place.hpp>
#include <memory>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

namespace detail {

/// What a disk and its DiskRefs share. The last of them destroys it.
template <class D>
struct DiskLink {
  explicit DiskLink(Disk<D>& its_disk) noexcept : disk{its_disk} {}

  Disk<D>& disk;
  CallGate gate;
};

}  // namespace detail

/// The use of a disk through a DiskRef. Empty if the disk is removed or not made yet, so the holder
/// tests it:
///
///   if (const auto disk = ref.try_access()) disk->kick_requeued();
///
/// Context: any; the thread that has made it destroys it. While a removal waits for an access, the
/// disk's contexts run without a pause, so an access is short.
template <class D>
class [[nodiscard]] DiskAccess {
 public:
  /// An empty access.
  DiskAccess() = default;
  DiskAccess(DiskAccess&& other) noexcept : link_{std::exchange(other.link_, nullptr)} {}
  DiskAccess& operator=(DiskAccess&&) = delete;
  /// Effects: lets the removal of the disk end.
  ~DiskAccess() {
    // The disk may be destroyed once the gate is left, and the link with it.
    if (link_ != nullptr) link_->gate.leave();
  }

  /// Whether there is a disk.
  [[nodiscard]] explicit operator bool() const noexcept { return link_ != nullptr; }
  /// The disk.
  /// Violation: use_of_moved_from, if the access is empty.
  [[nodiscard]] Disk<D>& operator*() const noexcept { return disk("mq::DiskAccess::operator*"); }
  /// The disk.
  /// Violation: use_of_moved_from, if the access is empty.
  [[nodiscard]] Disk<D>* operator->() const noexcept { return &disk("mq::DiskAccess::operator->"); }

 private:
  template <class>
  friend class DiskRef;

  explicit DiskAccess(detail::DiskLink<D>* link) noexcept : link_{link} {}

  [[nodiscard]] Disk<D>& disk(const char* operation) const noexcept {
    if (link_ == nullptr) [[unlikely]]
      violate_empty(operation);
    return link_->disk;
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void violate_empty(const char* operation) {
    blkown::detail::violate(Violation::use_of_moved_from,
                            Incident::of(operation, Place{})
                                .with("a DiskAccess was used that has no disk",
                                      "test it first: a removed disk gives an empty one"));
  }

  detail::DiskLink<D>* link_ = nullptr;
};

/// A reference to a disk that is revoked when the disk is removed. It may outlive the disk.
/// Synchronization: as a std::shared_ptr. Several threads may use one DiskRef that none changes.
template <class D>
class DiskRef {
 public:
  /// A reference to no disk.
  DiskRef() = default;

  /// Gives the disk for use. The access is empty until Disk::create has made the disk, and again
  /// once the removal has waited for the disk's requests.
  /// Context: any; interrupt safe.
  [[nodiscard]] DiskAccess<D> try_access() const noexcept {
    if (link_ == nullptr || !link_->gate.enter()) return DiskAccess<D>{};
    return DiskAccess<D>{link_.get()};
  }

 private:
  friend class Disk<D>;

  explicit DiskRef(const std::shared_ptr<detail::DiskLink<D>>& link) noexcept : link_{link} {}

  std::shared_ptr<detail::DiskLink<D>> link_;
};

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
