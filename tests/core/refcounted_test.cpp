// SPDX-License-Identifier: BSL-1.0
//
// ARef and Owned of reference-counted objects other than requests.

#include <gtest/gtest.h>

#include <blkown/blkown.hpp>
#include <string>
#include <utility>

using blkown::Owned;

namespace {

template <class T>
using Ref = blkown::ARef<T>;

/// A block device of a driver's code, reference-counted and shared.
struct Device {
  int references = 1;
  bool is_gone = false;
  std::string name = "blk0";

  void add_ref() { ++references; }
  void drop_ref() {
    if (--references == 0) is_gone = true;
  }
};

/// An object that is owned, then shared, then owned again.
struct Widget {
  int references = 0;
  bool is_released = false;
  int value = 0;

  void add_ref() { ++references; }
  void drop_ref() { --references; }
  void release_owned() { is_released = true; }
  void into_shared() { references = 1; }
  bool try_into_owned() {
    if (references != 1) return false;
    references = 0;
    return true;
  }
};

/// A C library's object, without member functions.
struct legacy {
  int use_count;
};

/// An object with one owner and no references.
struct Session {
  bool is_closed = false;
  void release_owned() { is_closed = true; }
};

struct AnswersWithANumber : Widget {
  int try_into_owned() { return 1; }
};

}  // namespace

template <>
struct blkown::Ownership<legacy> {
  static void add_ref(legacy& object) { ++object.use_count; }
  static void drop_ref(legacy& object) { --object.use_count; }
};

static_assert(blkown::RefCounted<Device> && !blkown::Ownable<Device> &&
              !blkown::OwnableRefCounted<Device>);
static_assert(!blkown::RefCounted<Session> && blkown::Ownable<Session> &&
              !blkown::OwnableRefCounted<Session>);
static_assert(blkown::OwnableRefCounted<Widget>);
static_assert(blkown::RefCounted<legacy> && !blkown::Ownable<legacy>);
static_assert(!blkown::RefCounted<int> && !blkown::Ownable<std::string>);
static_assert(!blkown::OwnableRefCounted<AnswersWithANumber>, "whether it worked must be a bool");
static_assert(blkown::OwnableRefCounted<blkown::Request<int>>);
static_assert(!blkown::RequestType<Device> && blkown::RequestType<blkown::Request<int>>);
static_assert(!blkown::shared_data<int>, "reading shared data is opted into");

TEST(RefCounted, EachCopyIsAReference) {
  Device device;
  {
    const Ref<Device> first = Ref<Device>::from_raw(&device);
    const Ref<Device> second = first;
    EXPECT_EQ(device.references, 2);
    EXPECT_EQ(second->name, "blk0");
    EXPECT_EQ(&*second, &device);
  }
  EXPECT_TRUE(device.is_gone);
}

TEST(RefCounted, MovingAReferenceDoesNotCount) {
  Device device;
  Ref<Device> first = Ref<Device>::from_raw(&device);
  const Ref<Device> second = std::move(first);
  EXPECT_EQ(device.references, 1);
  EXPECT_EQ(&*second, &device);
}

TEST(RefCounted, AssigningLetsGoOfTheOldObject) {
  Device old;
  Device other;
  Ref<Device> reference = Ref<Device>::from_raw(&old);
  const Ref<Device> source = Ref<Device>::from_raw(&other);
  reference = source;
  EXPECT_TRUE(old.is_gone);
  EXPECT_EQ(other.references, 2);
  reference = Ref<Device>{source};
  EXPECT_EQ(other.references, 2);
}

TEST(RefCounted, AssigningAReferenceToItselfKeepsIt) {
  Device device;
  Ref<Device> reference = Ref<Device>::from_raw(&device);
  Ref<Device>& same = reference;
  reference = same;
  EXPECT_EQ(device.references, 1);
  reference = std::move(same);
  EXPECT_EQ(device.references, 1);
  EXPECT_EQ(&*reference, &device);
}

TEST(RefCounted, CrossesACBoundaryWithItsReference) {
  Device device;
  Ref<Device> reference = Ref<Device>::from_raw(&device);
  Device* const raw = std::move(reference).into_raw();
  EXPECT_EQ(device.references, 1);
  EXPECT_EQ(&*Ref<Device>::from_raw(raw), &device);
  EXPECT_TRUE(device.is_gone);
}

TEST(RefCounted, AnObjectWithoutAHandleGivesAFurtherReference) {
  Device device;
  {
    const Ref<Device> first = Ref<Device>::from_raw(&device);
    Device& argument = *first;
    const Ref<Device> second = Ref<Device>::from_ref(argument);
    EXPECT_EQ(device.references, 2);
    EXPECT_EQ(&*second, &device);
  }
  EXPECT_EQ(device.references, 0);
}

TEST(RefCounted, CountsATypeWithoutMembersThroughItsSpecialisation) {
  legacy object{1};
  const Ref<legacy> first = Ref<legacy>::from_raw(&object);
  {
    const Ref<legacy> second = first;
    EXPECT_EQ(object.use_count, 2);
  }
  EXPECT_EQ(object.use_count, 1);
}

TEST(Ownable, IsReleasedWhenItsOwnerIsDropped) {
  Session session;
  {
    const Owned<Session> owner = Owned<Session>::from_raw(&session);
    EXPECT_FALSE(owner->is_closed);
  }
  EXPECT_TRUE(session.is_closed);
}

TEST(Ownable, AssigningReleasesTheOldObject) {
  Session first;
  Session second;
  {
    Owned<Session> owner = Owned<Session>::from_raw(&first);
    owner = Owned<Session>::from_raw(&second);
    EXPECT_TRUE(first.is_closed);
    EXPECT_FALSE(second.is_closed);
    Owned<Session>& same = owner;
    owner = std::move(same);
    EXPECT_FALSE(second.is_closed);
  }
  EXPECT_TRUE(second.is_closed);
}

TEST(OwnableRefCounted, GoesFromUniqueToSharedAndBack) {
  Widget widget;
  Owned<Widget> owned = Owned<Widget>::from_raw(&widget);
  owned->value = 5;
  Ref<Widget> reference = std::move(owned).into_shared();
  EXPECT_EQ(widget.references, 1);
  auto again = Owned<Widget>::try_from_shared(std::move(reference));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(widget.references, 0);
  EXPECT_EQ((*again)->value, 5);
  EXPECT_EQ(std::move(*again).into_raw(), &widget);
  EXPECT_FALSE(widget.is_released) << "into_raw took the object out of the handle";
}

TEST(OwnableRefCounted, GivesTheReferenceBackWhileThereAreOthers) {
  Widget widget;
  Ref<Widget> reference = Owned<Widget>::from_raw(&widget).into_shared();
  {
    const Ref<Widget> other = reference;
    auto refused = Owned<Widget>::try_from_shared(std::move(reference));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(widget.references, 2);
    reference = std::move(refused).error();
  }
  EXPECT_EQ(widget.references, 1);
  EXPECT_TRUE(Owned<Widget>::try_from_shared(std::move(reference)).has_value());
  EXPECT_TRUE(widget.is_released) << "the dropped Owned releases the object";
}
