// SPDX-License-Identifier: BSL-1.0
//
// A firmware image for the NVMe driver's device: requested by its name, held by references, loaded
// part by part and committed on the simulated controller. Each way in which that fails has an error
// of its own.

#include <gtest/gtest.h>
#include <algorithm>
#include <blkown/mq/sync.hpp>
#include <blkown/nvme/nvme.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "examples/nvme/device_machine.hpp"
#include "nvme/firmware.hpp"

namespace {

using blkown::Status;
using blkown::nvme::AdminOpcode;
using blkown::nvme::StatusCode;
using nvme_driver::FirmwareAction;
using nvme_driver::FirmwareError;
using nvme_driver::FirmwareFailure;
using nvme_driver::FirmwareImage;
using nvme_driver::FirmwareState;
using nvme_driver::StatusField;
using nvme_test::DeviceMachine;
namespace sim = blkown::sim;
using Device = DeviceMachine::Device;
using Loader = nvme_driver::FirmwareLoader<DeviceMachine::Owner, Device::Backend>;

/// The bytes of an image that the simulated controller accepts.
[[nodiscard]] std::vector<std::byte> image_bytes(std::string_view revision, std::size_t length) {
  std::string text{sim::nvme_firmware_magic};
  text += revision;
  text.resize(length, ' ');
  std::vector<std::byte> bytes(length);
  std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  return bytes;
}

/// The revision that runs, by Identify. The memory is freed at the controller's next stop.
template <class Owner>
[[nodiscard]] std::string running_revision(Owner& controller) {
  using Backend = std::remove_reference_t<decltype(controller.device().backend())>;
  auto memory = *blkown::dma::Coherent<Backend>::allocate(controller.device(), 4096);
  auto entry = blkown::nvme::SubmissionEntry::identify(blkown::nvme::Cns::identify_controller, 0);
  entry.prp1 = memory.segment().iova;
  EXPECT_TRUE(controller.execute(entry).value().status.is_success());
  blkown::nvme::IdentifyController data;
  std::memcpy(&data, memory.data(), sizeof data);
  return {data.firmware().begin(), data.firmware().end()};
}

/// A folder of images in memory.
class Folder {
 public:
  void add(const std::string& name, std::vector<std::byte> bytes) {
    images_.insert_or_assign(name, FirmwareImage::create(name, std::move(bytes)));
  }
  [[nodiscard]] std::optional<FirmwareImage::Ref> find(std::string_view name) {
    ++requests;
    if (to_unplug != nullptr) to_unplug->unplug();
    const auto found = images_.find(std::string{name});
    if (found == images_.end()) return std::nullopt;
    return found->second;
  }

  unsigned requests = 0;
  Device* to_unplug = nullptr;  // while it looks for an image

 private:
  std::map<std::string, FirmwareImage::Ref> images_;
};
static_assert(nvme_driver::FirmwareProvider<Folder>);

[[nodiscard]] FirmwareImage::Ref image_of(std::vector<std::byte> bytes) {
  return FirmwareImage::create("image", std::move(bytes));
}

/// A controller that was started, on a device in its slot.
class NvmeFirmware : public testing::Test {
 public:
  ~NvmeFirmware() override {
    machine.platform.can_cut_off = true;
    const auto proof = controller->stop();
    static_cast<void>(device->dma().drain(*proof));
    EXPECT_TRUE(controller->free(*proof));
    controller.reset();
    EXPECT_EQ(machine.iommu.mapped_pages(), 0U);
    EXPECT_EQ(machine.iommu.fault_counts().total(), 0U);
  }

  [[nodiscard]] Loader loader() { return *Loader::create(*controller); }
  [[nodiscard]] std::vector<blkown::nvme::SubmissionEntry> downloads() const {
    std::vector<blkown::nvme::SubmissionEntry> all;
    std::ranges::copy_if(machine.commands.admin, std::back_inserter(all), [](const auto& entry) {
      return entry.admin_opcode() == AdminOpcode::firmware_image_download;
    });
    return all;
  }
  [[nodiscard]] std::string running() { return running_revision(*controller); }
  /// A controller level reset.
  void reset() {
    const auto proof = controller->stop();
    ASSERT_TRUE(proof.has_value());
    static_cast<void>(device->dma().drain(*proof));
    ASSERT_TRUE(controller->start().has_value());
  }

  DeviceMachine machine;
  Device::Ref device{machine.plug_in()};
  std::unique_ptr<DeviceMachine::Owner> controller{machine.start(*device)};
};

TEST_F(NvmeFirmware, AnImageIsFoundByItsNameAndOutlivesItsProvider) {
  std::optional<FirmwareImage::Ref> image;
  {
    Folder folder;
    folder.add("nvme/sim-2.0.bin", image_bytes("2.0", 4096));
    auto found = nvme_driver::request_firmware(*device, folder, "nvme/sim-2.0.bin");
    ASSERT_TRUE(found.has_value());
    image = *std::move(found);
  }
  EXPECT_EQ((*image)->name(), "nvme/sim-2.0.bin");
  EXPECT_TRUE(std::ranges::equal((*image)->bytes(), image_bytes("2.0", 4096)));
  EXPECT_TRUE(loader().load(**image, 2, FirmwareAction::replace).has_value());
}

TEST_F(NvmeFirmware, ANameWithoutAnImageOrWithAnEmptyOneIsAnError) {
  Folder folder;
  folder.add("empty", {});
  for (const char* name : {"missing", "empty"}) {
    const auto found = nvme_driver::request_firmware(*device, folder, name);
    ASSERT_FALSE(found.has_value());
    EXPECT_EQ(found.error(), (FirmwareError{FirmwareFailure::no_image, {}}));
    EXPECT_EQ(found.error().status(), Status::invalid);
  }
}

TEST_F(NvmeFirmware, ARequestForADeviceThatIsGoneIsOfflineAndDoesNotAskTheProvider) {
  Folder folder;
  folder.add("image", image_bytes("2.0", 4096));
  machine.unplug(*device);
  const auto found = nvme_driver::request_firmware(*device, folder, "image");
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().status(), Status::offline);
  EXPECT_EQ(folder.requests, 0U);
}

TEST_F(NvmeFirmware, ADeviceThatGoesWhileTheProviderLooksIsOffline) {
  Folder folder;
  folder.add("image", image_bytes("2.0", 4096));
  folder.to_unplug = &*device;
  const auto found = nvme_driver::request_firmware(*device, folder, "image");
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().reason, FirmwareFailure::offline);
}

TEST_F(NvmeFirmware, AnImageIsDownloadedInPartsThatTheControllerTakes) {
  // The controller takes 32 KiB in a command, and parts that are multiples of 4 KiB.
  const auto image = image_of(image_bytes("2.0", 77'824));
  ASSERT_TRUE(loader().load(*image, 2, FirmwareAction::replace).has_value());
  const auto sent = downloads();
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[0].firmware_offset_bytes(), 0U);
  EXPECT_EQ(sent[0].firmware_bytes(), 32'768U);
  EXPECT_EQ(sent[1].firmware_offset_bytes(), 32'768U);
  EXPECT_EQ(sent[1].firmware_bytes(), 32'768U);
  EXPECT_EQ(sent[2].firmware_offset_bytes(), 65'536U);
  EXPECT_EQ(sent[2].firmware_bytes(), 12'288U);
}

TEST_F(NvmeFirmware, AnImageThatIsToBeActivatedNeedsAResetAndRunsAfterIt) {
  const auto image = image_of(image_bytes("2.0", 8192));
  const auto state = loader().load(*image, 2, FirmwareAction::replace_and_activate);
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(*state, FirmwareState::needs_controller_reset);
  EXPECT_EQ(running(), "1.0");
  reset();
  EXPECT_EQ(running(), "2.0");
}

// Goal: a driver with disks activates a firmware by its reset, and the disks' I/O goes on.
TEST(NvmeFirmwareOfADriver, TheDriversResetActivatesAFirmwareAndItsDisksGoOn) {
  nvme_test::Machine machine;
  ASSERT_TRUE(machine.start());
  const std::vector<std::byte> written(4096, std::byte{0x5A});
  ASSERT_EQ(blkown::mq::write(machine.runtime, machine.disk(), 0, written), Status::ok);
  {
    using Owner = nvme_test::Machine::Driver::Owner;
    auto loader = *nvme_driver::FirmwareLoader<Owner, sim::Iommu>::create(*machine.owner);
    const auto image = image_of(image_bytes("3.0", 8192));
    EXPECT_EQ(loader.load(*image, 2, FirmwareAction::replace_and_activate).value(),
              FirmwareState::needs_controller_reset);
  }
  EXPECT_EQ(running_revision(*machine.owner), "1.0");
  machine.driver->reset();
  ASSERT_TRUE(machine.runtime.run_until_idle(1'000'000));
  EXPECT_EQ(machine.driver->resets(), 1U);
  EXPECT_EQ(running_revision(*machine.owner), "3.0");
  std::vector<std::byte> read(written.size());
  EXPECT_EQ(blkown::mq::read(machine.runtime, machine.disk(), 0, read), Status::ok);
  EXPECT_TRUE(read == written);
  EXPECT_TRUE(machine.shut_down());
}

TEST_F(NvmeFirmware, AStoredImageIsActivatedWithoutAReset) {
  const auto image = image_of(image_bytes("2.1", 8192));
  auto firmware = loader();
  EXPECT_EQ(firmware.load(*image, 3, FirmwareAction::replace).value(), FirmwareState::stored);
  EXPECT_EQ(running(), "1.0");
  EXPECT_EQ(firmware.commit(3, FirmwareAction::activate_now).value(), FirmwareState::active);
  EXPECT_EQ(running(), "2.1");
}

TEST_F(NvmeFirmware, AnImageThatDoesNotFitTheGranularityIsRefusedBeforeAnythingIsSent) {
  for (const std::size_t length : {1U, 4095U, 4100U, 12'287U}) {
    const auto image = image_of(image_bytes("2.0", length));
    const auto state = loader().load(*image, 2, FirmwareAction::replace);
    ASSERT_FALSE(state.has_value());
    EXPECT_EQ(state.error(), (FirmwareError{FirmwareFailure::granularity, {}}));
  }
  EXPECT_TRUE(downloads().empty());
}

TEST_F(NvmeFirmware, APartThatTheControllerRefusesIsAnErrorWithItsStatus) {
  const auto image = image_of(image_bytes("2.0", (1 << 20) + 4096));  // more than it has room for
  const auto state = loader().load(*image, 2, FirmwareAction::replace);
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().reason, FirmwareFailure::download);
  EXPECT_EQ(state.error().field.code(), StatusCode::invalid_field);
  EXPECT_EQ(machine.commands.count(AdminOpcode::firmware_commit), 0U);
}

TEST_F(NvmeFirmware, AnImageOrASlotThatTheControllerRefusesIsAnErrorWithItsStatus) {
  const auto other = image_of(std::vector<std::byte>(4096));
  const auto refused = loader().load(*other, 2, FirmwareAction::replace);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, FirmwareFailure::commit);
  EXPECT_EQ(refused.error().field.code(), StatusCode::invalid_firmware_image);
  const auto image = image_of(image_bytes("2.0", 4096));
  const auto read_only = loader().load(*image, 1, FirmwareAction::replace_and_activate);
  ASSERT_FALSE(read_only.has_value());
  EXPECT_EQ(read_only.error().reason, FirmwareFailure::commit);
  EXPECT_EQ(read_only.error().field.code(), StatusCode::invalid_firmware_slot);
  EXPECT_EQ(running(), "1.0");
}

TEST_F(NvmeFirmware, ADeviceThatGoesBetweenLoadsIsOffline) {
  auto firmware = loader();
  const auto image = image_of(image_bytes("2.0", 4096));
  machine.unplug(*device);
  const auto state = firmware.load(*image, 2, FirmwareAction::replace);
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().status(), Status::offline);
  EXPECT_EQ(firmware.commit(2, FirmwareAction::activate).error().status(), Status::offline);
  EXPECT_EQ(Loader::create(*controller).error().status(), Status::offline);
  EXPECT_TRUE(downloads().empty());
}

TEST_F(NvmeFirmware, ADeviceThatGoesDuringADownloadIsOfflineAndTheBufferStaysMappedUntilTheStop) {
  auto firmware = loader();
  const auto image = image_of(image_bytes("2.0", 65'536));
  unsigned pauses = 0;
  machine.platform.on_pause = [&] {
    if (!downloads().empty() && pauses++ == 0) machine.unplug(*device);
  };
  const auto mapped = machine.iommu.mapped_pages();
  const auto state = firmware.load(*image, 2, FirmwareAction::replace);
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().reason, FirmwareFailure::offline);
  EXPECT_EQ(downloads().size(), 1U);
  EXPECT_EQ(machine.iommu.mapped_pages(), mapped);
}

TEST_F(NvmeFirmware, ALoaderWhoseCommandHasNoAnswerIsUsedNoMore) {
  machine.platform.pause();  // the controller fetches the event request of the start
  machine.faults = sim::FaultPlan{1, {{sim::FaultKind::lost, 0}}};
  const auto image = image_of(image_bytes("2.0", 4096));
  {
    auto firmware = loader();
    for (int i = 0; i != 2; ++i) {
      const auto state = firmware.load(*image, 2, FirmwareAction::replace);
      ASSERT_FALSE(state.has_value());
      EXPECT_EQ(state.error().reason, FirmwareFailure::no_answer);
      EXPECT_EQ(state.error().status(), Status::timed_out);
    }
    EXPECT_EQ(downloads().size(), 1U);
  }
  reset();
  EXPECT_EQ(loader().load(*image, 2, FirmwareAction::replace).value(), FirmwareState::stored);
}

TEST_F(NvmeFirmware, ALoadersBufferIsFreedWithTheProofOfTheStop) {
  auto firmware = loader();
  const auto mapped = machine.iommu.mapped_pages();
  const auto proof = controller->stop();
  ASSERT_TRUE(proof.has_value());
  EXPECT_TRUE(firmware.free(*proof));
  EXPECT_LT(machine.iommu.mapped_pages(), mapped);
}

}  // namespace
