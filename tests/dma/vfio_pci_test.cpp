// SPDX-License-Identifier: BSL-1.0
//
// Goal: a PCI device is opened in the order that VFIO asks for, every failed step is named, and no
// file stays open.

#include <gtest/gtest.h>

#include <blkown/dma/vfio_pci.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dma/fake_vfio.hpp"

namespace {

namespace dma = blkown::dma;
using dma::VfioError;
using dma::VfioStep;

/// One PCI device in group 17, as the kernel shows it. Each file's number is at most used once.
struct PciKernel {
  enum File : int { container = 10, group = 11, device = 12 };

  std::set<int> open_files;
  std::vector<std::string> calls;
  std::string failing_call;  ///< The name of the call that fails.
  int error = EIO;           ///< The errno value of that failure.
  std::string link = "../../../../kernel/iommu_groups/17";
  bool is_viable = true;
  bool has_container = false;
  bool has_iommu = false;
  std::uint32_t device_flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
  std::uint16_t command = 0x0400;
  alignas(8) std::array<std::byte, 4096> bar{};
  int mapped_bars = 0;
  std::vector<int> vectors;
  int resets = 0;

  static constexpr std::uint64_t bar_at = 0;
  static constexpr std::uint64_t config_at = std::uint64_t{7} << 40;

  [[nodiscard]] bool fails(const std::string& call) {
    calls.push_back(call);
    return call == failing_call;
  }
};

/// The system calls of the device.
struct PciSystem {
  PciKernel* kernel;

  int open(const char* path) const {
    const std::string name = path;
    if (kernel->fails("open " + name)) return -kernel->error;
    const int file = name == "/dev/vfio/vfio" ? PciKernel::container
                     : name == "/dev/vfio/17" ? PciKernel::group
                                              : -1;
    if (file < 0) return -ENOENT;
    EXPECT_TRUE(kernel->open_files.insert(file).second);
    return file;
  }
  void close(int file) const { EXPECT_EQ(kernel->open_files.erase(file), 1U) << file; }
  std::int64_t read_link(const char* path, std::span<char> target) const {
    if (kernel->fails(std::string{"readlink "} + path)) return -kernel->error;
    const std::size_t bytes = std::min(target.size(), kernel->link.size());
    std::memcpy(target.data(), kernel->link.data(), bytes);
    return static_cast<std::int64_t>(bytes);
  }
  std::int64_t read_at(int, std::span<std::byte> bytes, std::uint64_t offset) const {
    if (kernel->fails("pread")) return -kernel->error;
    EXPECT_EQ(offset, PciKernel::config_at + 4);
    std::memcpy(bytes.data(), &kernel->command, 2);
    return 2;
  }
  std::int64_t write_at(int, std::span<const std::byte> bytes, std::uint64_t offset) const {
    if (kernel->fails("pwrite")) return -kernel->error;
    EXPECT_EQ(offset, PciKernel::config_at + 4);
    std::memcpy(&kernel->command, bytes.data(), 2);
    return 2;
  }
  std::byte* map_file(int, std::uint64_t offset, std::size_t bytes) const {
    errno = kernel->error;
    if (kernel->fails("mmap")) return nullptr;
    EXPECT_EQ(offset, PciKernel::bar_at);
    EXPECT_EQ(bytes, kernel->bar.size());
    ++kernel->mapped_bars;
    return kernel->bar.data();
  }
  void unmap_file(std::byte* memory, std::size_t bytes) const {
    EXPECT_EQ(memory, kernel->bar.data());
    EXPECT_EQ(bytes, kernel->bar.size());
    --kernel->mapped_bars;
  }
  int ioctl(int file, unsigned long request, void* argument) const {
    switch (request) {
      case VFIO_GET_API_VERSION: return kernel->fails("version") ? 1 : VFIO_API_VERSION;
      case VFIO_GROUP_GET_STATUS: return status(file, argument);
      case VFIO_GROUP_SET_CONTAINER:
        if (kernel->fails("set container")) return -kernel->error;
        EXPECT_EQ(file, PciKernel::group);
        EXPECT_EQ(*static_cast<int*>(argument), PciKernel::container);
        kernel->has_container = true;
        return 0;
      case VFIO_SET_IOMMU:
        if (kernel->fails("set iommu")) return -kernel->error;
        EXPECT_EQ(file, PciKernel::container);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(argument), VFIO_TYPE1v2_IOMMU);
        kernel->has_iommu = kernel->has_container;
        return kernel->has_container ? 0 : -ENODEV;
      case VFIO_GROUP_GET_DEVICE_FD:
        if (kernel->fails("get device")) return -kernel->error;
        EXPECT_STREQ(static_cast<char*>(argument), "0000:00:04.0");
        if (!kernel->has_iommu) return -EINVAL;
        EXPECT_TRUE(kernel->open_files.insert(PciKernel::device).second);
        return PciKernel::device;
      default: return of_device(file, request, argument);
    }
  }

 private:
  int status(int file, void* argument) const {
    if (kernel->fails("status")) return -kernel->error;
    EXPECT_EQ(file, PciKernel::group);
    auto& status = *static_cast<vfio_group_status*>(argument);
    EXPECT_EQ(status.argsz, sizeof status);
    status.flags = kernel->is_viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
    return 0;
  }
  int of_device(int file, unsigned long request, void* argument) const {
    EXPECT_EQ(file, PciKernel::device);
    switch (request) {
      case VFIO_DEVICE_GET_INFO:
        if (kernel->fails("device info")) return -kernel->error;
        static_cast<vfio_device_info*>(argument)->flags = kernel->device_flags;
        return 0;
      case VFIO_DEVICE_GET_REGION_INFO: return region(*static_cast<vfio_region_info*>(argument));
      case VFIO_DEVICE_GET_IRQ_INFO: {
        auto& info = *static_cast<vfio_irq_info*>(argument);
        EXPECT_EQ(info.index, std::uint32_t{VFIO_PCI_MSIX_IRQ_INDEX});
        info.count = 65;
        return kernel->fails("irq info") ? -kernel->error : 0;
      }
      case VFIO_DEVICE_SET_IRQS: return set_vectors(static_cast<std::byte*>(argument));
      case VFIO_DEVICE_RESET:
        if (kernel->fails("reset")) return -kernel->error;
        ++kernel->resets;
        return 0;
      default: return -ENOTTY;
    }
  }
  int region(vfio_region_info& info) const {
    if (kernel->fails("region info")) return -kernel->error;
    EXPECT_EQ(info.argsz, sizeof info);
    if (info.index == VFIO_PCI_BAR0_REGION_INDEX) {
      info.size = kernel->bar.size();
      info.flags = VFIO_REGION_INFO_FLAG_MMAP;
      info.offset = PciKernel::bar_at;
    } else if (info.index == VFIO_PCI_BAR2_REGION_INDEX) {
      info.flags = VFIO_REGION_INFO_FLAG_MMAP;
    } else if (info.index == VFIO_PCI_CONFIG_REGION_INDEX) {
      info.size = 4096;
      info.offset = PciKernel::config_at;
    }
    return 0;
  }
  int set_vectors(const std::byte* argument) const {
    if (kernel->fails("set irqs")) return -kernel->error;
    std::array<std::uint32_t, 5> head{};  // argsz, flags, index, start, count
    std::memcpy(head.data(), argument, sizeof head);
    const bool is_off = head[4] == 0;
    const auto flags =
        static_cast<std::uint32_t>(VFIO_IRQ_SET_ACTION_TRIGGER |
                                   (is_off ? VFIO_IRQ_SET_DATA_NONE : VFIO_IRQ_SET_DATA_EVENTFD));
    EXPECT_EQ(head[0], sizeof head + head[4] * sizeof(int));
    EXPECT_EQ(head[1], flags);
    EXPECT_EQ(head[2], std::uint32_t{VFIO_PCI_MSIX_IRQ_INDEX});
    EXPECT_EQ(head[3], 0U);
    // As vfio_pci_set_msi_trigger: MSI-X that is on keeps its number of vectors, and the vectors
    // behind the list keep their eventfds.
    if (is_off) {
      const bool was_on = !kernel->vectors.empty();
      kernel->vectors.clear();
      return was_on ? 0 : -EINVAL;
    }
    if (kernel->vectors.empty()) kernel->vectors.resize(head[4]);
    if (head[4] > kernel->vectors.size()) return -EINVAL;
    std::memcpy(kernel->vectors.data(), argument + sizeof head, head[4] * sizeof(int));
    return 0;
  }
};

using PciDevice = dma::BasicVfioPciDevice<PciSystem>;

class VfioPci : public testing::Test {
 protected:
  std::expected<PciDevice, VfioError> open() { return PciDevice::open("0000:00:04.0", {&kernel}); }
  void TearDown() override {
    EXPECT_TRUE(kernel.open_files.empty()) << "a file is still open";
    EXPECT_EQ(kernel.mapped_bars, 0);
  }
  PciKernel kernel;
};

TEST_F(VfioPci, IsOpenedStepByStep) {
  {
    const auto device = open();
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ(device->container(), PciKernel::container);
    EXPECT_EQ(device->file(), PciKernel::device);
    EXPECT_EQ(kernel.open_files.size(), 3U);
  }
  EXPECT_EQ(kernel.calls,
            (std::vector<std::string>{"open /dev/vfio/vfio", "version",
                                      "readlink /sys/bus/pci/devices/0000:00:04.0/iommu_group",
                                      "open /dev/vfio/17", "status", "set container", "set iommu",
                                      "get device", "device info"}));
}

// Goal: each step that fails is named, with the kernel's error, and what was open is closed.
TEST_F(VfioPci, AFailedStepIsNamed) {
  const std::pair<const char*, VfioStep> steps[] = {
      {"open /dev/vfio/vfio", VfioStep::open_container},
      {"readlink /sys/bus/pci/devices/0000:00:04.0/iommu_group", VfioStep::find_group},
      {"open /dev/vfio/17", VfioStep::open_group},
      {"status", VfioStep::check_group},
      {"set container", VfioStep::set_container},
      {"set iommu", VfioStep::set_iommu},
      {"get device", VfioStep::open_device},
      {"device info", VfioStep::device_info}};
  for (const auto& [call, step] : steps) {
    kernel.failing_call = call;
    const auto device = open();
    ASSERT_FALSE(device.has_value()) << call;
    EXPECT_EQ(device.error(), (VfioError{step, EIO})) << call;
    EXPECT_TRUE(kernel.open_files.empty()) << call;
  }
}

TEST_F(VfioPci, AnAnswerThatDoesNotFitIsAFailure) {
  kernel.failing_call = "version";
  EXPECT_EQ(open().error(), (VfioError{VfioStep::check_version, 0}));
  kernel.failing_call = {};
  kernel.is_viable = false;
  EXPECT_EQ(open().error(), (VfioError{VfioStep::check_group, EBUSY}));
  kernel.is_viable = true;
  kernel.device_flags = VFIO_DEVICE_FLAGS_PLATFORM;
  EXPECT_EQ(open().error(), (VfioError{VfioStep::device_info, ENODEV}));
  for (const char* link : {"", "iommu_groups/", "iommu_groups/1x", "no-iommu"}) {
    kernel.link = link;
    EXPECT_EQ(open().error(), (VfioError{VfioStep::find_group, EINVAL})) << link;
  }
  const std::string too_long(200, '0');
  EXPECT_EQ(PciDevice::open(too_long.c_str(), {&kernel}).error(),
            (VfioError{VfioStep::find_group, ENAMETOOLONG}));
}

TEST_F(VfioPci, RegistersAreReadAndWritten) {
  auto device = open();
  ASSERT_TRUE(device.has_value());
  {
    auto made = device->map_region(VFIO_PCI_BAR0_REGION_INDEX);
    ASSERT_TRUE(made.has_value());
    auto registers = *std::move(made);
    EXPECT_EQ(registers.bytes(), 4096U);
    registers.write32(0x14, 0x12345678);
    registers.write64(0x28, 0x1122334455667788);
    EXPECT_EQ(registers.read32(0x14), 0x12345678U);
    EXPECT_EQ(registers.read64(0x28), 0x1122334455667788U);
    EXPECT_EQ(kernel.bar[0x14], std::byte{0x78});
    EXPECT_EQ(kernel.bar[0x2F], std::byte{0x11});
  }
  EXPECT_EQ(device->map_region(VFIO_PCI_CONFIG_REGION_INDEX).error(),
            (VfioError{VfioStep::region_info, 0}))
      << "cannot be mapped";
  for (const std::uint32_t empty : {VFIO_PCI_BAR1_REGION_INDEX, VFIO_PCI_BAR2_REGION_INDEX}) {
    EXPECT_EQ(device->map_region(empty).error(), (VfioError{VfioStep::region_info, 0}));
  }
  kernel.failing_call = "region info";
  EXPECT_EQ(device->map_region(0).error(), (VfioError{VfioStep::region_info, EIO}));
  kernel.failing_call = "mmap";
  EXPECT_EQ(device->map_region(0).error(), (VfioError{VfioStep::map_region, EIO}));
}

TEST_F(VfioPci, BusMasteringIsSwitched) {
  auto device = open();
  EXPECT_TRUE(device->set_bus_master(true).has_value());
  EXPECT_EQ(kernel.command, 0x0406) << "the other bits are kept";
  EXPECT_TRUE(device->set_bus_master(false).has_value());
  EXPECT_EQ(kernel.command, 0x0402) << "the registers still answer";
  for (const char* call : {"pread", "pwrite"}) {
    kernel.failing_call = call;
    EXPECT_EQ(device->set_bus_master(true).error(), (VfioError{VfioStep::config_space, EIO}));
  }
}

TEST_F(VfioPci, VectorsSignalEventfds) {
  auto device = open();
  EXPECT_EQ(device->msix_count(), 65U);
  const std::vector<int> eventfds{21, 22, 23};
  EXPECT_TRUE(device->set_msix(eventfds).has_value());
  EXPECT_EQ(kernel.vectors, eventfds);
  EXPECT_TRUE(device->set_msix({}).has_value());
  EXPECT_TRUE(kernel.vectors.empty());
  const std::vector<int> most(PciDevice::max_vectors, 5);
  EXPECT_TRUE(device->set_msix(most).has_value());
  const std::vector<int> more(PciDevice::max_vectors + 1, 5);
  EXPECT_EQ(device->set_msix(more).error(), (VfioError{VfioStep::set_interrupts, E2BIG}));
  kernel.failing_call = "set irqs";
  EXPECT_EQ(device->set_msix(eventfds).error(), (VfioError{VfioStep::set_interrupts, EIO}));
}

// Goal: a driver that has changed its number of queues sets all its vectors again.
TEST_F(VfioPci, ALaterListOfEventfdsReplacesTheWholeFirst) {
  auto device = open();
  EXPECT_TRUE(device->set_msix({}).has_value()) << "MSI-X is off already";
  for (const std::vector<int>& eventfds :
       {std::vector<int>{21, 22, 23}, std::vector<int>{31}, std::vector<int>{41, 42}}) {
    EXPECT_TRUE(device->set_msix(eventfds).has_value());
    EXPECT_EQ(kernel.vectors, eventfds);
  }
}

TEST_F(VfioPci, AResetSaysWhetherItIsDone) {
  auto device = open();
  EXPECT_TRUE(device->reset().has_value());
  EXPECT_EQ(kernel.resets, 1);
  kernel.failing_call = "reset";
  EXPECT_EQ(device->reset().error(), (VfioError{VfioStep::reset, EIO}));
}

TEST_F(VfioPci, MovesItsFiles) {
  auto first = open();
  std::optional<PciDevice> moved{*std::move(first)};
  EXPECT_EQ(first->container(), -1);
  PciDevice last = *std::move(moved);
  moved.reset();
  EXPECT_EQ(kernel.open_files.size(), 3U);
  EXPECT_EQ(last.file(), PciKernel::device);
  *first = std::move(last);
  EXPECT_EQ(last.file(), -1);
  EXPECT_EQ(first->file(), PciKernel::device);
  auto registers = first->map_region(VFIO_PCI_BAR0_REGION_INDEX);
  auto others = *std::move(registers);
  *registers = std::move(others);
  EXPECT_EQ(kernel.mapped_bars, 1);
  registers->write32(0, 9);
  EXPECT_EQ(kernel.bar[0], std::byte{9});
}

}  // namespace
