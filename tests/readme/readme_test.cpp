// SPDX-License-Identifier: BSL-1.0
//
// Goal: the README's driver works as printed.
// Method: this file acts as its device.

#include <gtest/gtest.h>

#include <vector>

#include BLKOWN_README_PROGRAM

namespace {

struct Sent {
  std::uint64_t id;
  Command command;
};
struct Told {
  std::uint64_t lba;
  blkown::Status status;
};

std::vector<Sent> sent;
std::vector<Told> told;
std::vector<blkown::LookupReason> refused;
blkown::Status send_status = blkown::Status::ok;

}  // namespace

// The functions that the README leaves to the reader.
void ring_doorbell(std::uint64_t id, const Command& command) { sent.push_back({id, command}); }
void log_refused(const blkown::LookupError& why) { refused.push_back(why.reason); }
blkown::Status try_to_send(std::uint64_t id, const Command& command) {
  if (send_status == blkown::Status::ok) sent.push_back({id, command});
  return send_status;
}
void tell_submitter(const Command& command, blkown::Status status) {
  told.push_back({command.lba, status});
}

namespace {

class ReadmeDriver : public testing::Test {
 protected:
  void SetUp() override {
    sent.clear();
    told.clear();
    refused.clear();
    send_status = blkown::Status::ok;
    ASSERT_TRUE(made_.has_value());
  }
  void TearDown() override { EXPECT_EQ(made_->in_flight(), 0U); }

  void submit(std::uint32_t tag, std::uint64_t lba) {
    auto idle = made_->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{tag});
    ASSERT_TRUE(idle.has_value()) << "tag " << tag;
    driver_.queue_rq(std::move(*idle), {.lba = lba, .buffer = nullptr});
  }

  decltype(make_tags()) made_ = make_tags();
  Driver driver_{*made_};
};

TEST_F(ReadmeDriver, EndsEachIoWithItsOwnStatusInWhateverOrderTheDeviceCompletes) {
  submit(0, 100);
  submit(1, 200);
  submit(127, 300);
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[1].command.lba, 200U);
  EXPECT_TRUE(told.empty());

  driver_.interrupt(sent[2].id, true);
  driver_.interrupt(sent[0].id, false);
  driver_.interrupt(sent[1].id, true);
  ASSERT_EQ(told.size(), 3U);
  EXPECT_EQ(told[0].lba, 300U);
  EXPECT_EQ(told[0].status, blkown::Status::ok);
  EXPECT_EQ(told[1].lba, 100U);
  EXPECT_EQ(told[1].status, blkown::Status::medium_error);
  EXPECT_EQ(told[2].lba, 200U);
  EXPECT_TRUE(refused.empty());
}

TEST_F(ReadmeDriver, RefusesADuplicateALateAndAForgedId) {
  using enum blkown::LookupReason;
  submit(5, 1);
  const std::uint64_t old = sent[0].id;
  driver_.interrupt(old, true);
  driver_.interrupt(old, true);
  submit(5, 2);
  driver_.interrupt(old, true);
  driver_.interrupt(~std::uint64_t{0}, true);
  EXPECT_EQ(told.size(), 1U);
  EXPECT_EQ(refused, (std::vector{idle, stale_generation, no_such_queue}));

  driver_.interrupt(sent[1].id, true);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[1].lba, 2U);
}

TEST_F(ReadmeDriver, EndsTheCompletionsThatArriveTogether) {
  for (std::uint32_t tag = 0; tag != 3; ++tag) submit(tag, tag);
  on_completions(*made_, std::vector{sent[1].id, sent[1].id, sent[2].id, sent[0].id});
  ASSERT_EQ(told.size(), 3U);
  EXPECT_EQ(told[0].lba, 1U);
  EXPECT_EQ(told[1].lba, 2U);
  EXPECT_EQ(told[2].lba, 0U);
}

TEST_F(ReadmeDriver, FreesTheTagWhenTheIoHasEnded) {
  submit(7, 1);
  EXPECT_FALSE(made_->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{7}).has_value());
  driver_.interrupt(sent[0].id, true);
  submit(7, 2);
  driver_.interrupt(sent[1].id, true);
  EXPECT_EQ(told.size(), 2U);
}

TEST_F(ReadmeDriver, EndsACommandThatTheTransportRefuses) {
  for (const blkown::Status status : {blkown::Status::ok, blkown::Status::transport_error}) {
    send_status = status;
    auto idle = made_->allocate_tag(blkown::QueueIndex{0}, blkown::Tag{9});
    ASSERT_TRUE(idle.has_value());
    const Command command{.lba = 9, .buffer = nullptr};
    auto owned = std::move(*idle).start();
    owned.data() = command;
    send_or_end(std::move(owned), command);
    if (status == blkown::Status::ok) driver_.interrupt(sent[0].id, true);
  }
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].status, blkown::Status::ok);
  EXPECT_EQ(told[1].status, blkown::Status::transport_error);
  EXPECT_EQ(sent.size(), 1U);
}

TEST(ReadmeConnection, KeepsTheTagUntilTheReplyIsSent) {
  Connection connection;
  auto tags = blkown::TagSet<Rq>::create({.depth = 2, .layout = blkown::CookieLayout::nbd()},
                                         blkown::EndSink<Rq>::to(connection));
  ASSERT_TRUE(tags.has_value());
  auto cache = tags->tag_cache(blkown::QueueIndex{0}, 0);
  for (int i = 0; i != 2; ++i) {
    auto idle = tags->allocate(blkown::QueueIndex{0}, cache);
    ASSERT_TRUE(idle.has_value());
    std::move(*idle).start().end_ok();
  }
  EXPECT_FALSE(tags->allocate(blkown::QueueIndex{0}, cache).has_value());
  EXPECT_EQ(tags->taken_count(blkown::QueueIndex{0}), 2U);
  connection.oldest_reply_sent();
  EXPECT_EQ(tags->taken_count(blkown::QueueIndex{0}), 1U) << "a cache of capacity 0 keeps no tag";
  auto again = tags->allocate(blkown::QueueIndex{0}, cache);
  ASSERT_TRUE(again.has_value());
  std::move(*again).fail(blkown::Status::aborted);
  connection.oldest_reply_sent();
  connection.oldest_reply_sent();
  EXPECT_EQ(tags->taken_count(blkown::QueueIndex{0}), 0U);
}

}  // namespace
