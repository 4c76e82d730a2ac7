// SPDX-License-Identifier: BSL-1.0
//
// The way from the machine's entry, 32-bit protected mode without paging (PVH), to kernel_main() in
// 64-bit mode: an identity map of 512 GiB in pages of 1 GiB, long mode, a stack.

  // The note in which QEMU finds the entry: XEN_ELFNOTE_PHYS32_ENTRY.
  .section .note.pvh, "a", @note
  .balign 4
  .long 4, 8, 18
  .asciz "Xen"
  .quad enter

  .section .text.boot, "ax"
  .code32
  .globl enter
enter:
  cli
  movl %ebx, %esi                     // the hvm_start_info, for kernel_main
  movl $page_directory + 3, page_map  // present, writable
  movl $page_directory, %edi
  movl $0x83, %eax                    // present, writable, 1 GiB
  xorl %edx, %edx
  movl $512, %ecx
1:movl %eax, (%edi)
  movl %edx, 4(%edi)
  addl $8, %edi
  addl $0x40000000, %eax
  adcl $0, %edx
  loop 1b
  orl $0x18, page_directory + 3 * 8   // the last GiB below 4 GiB has the devices: not cached

  movl %cr4, %eax
  orl $0x20, %eax                     // PAE
  movl %eax, %cr4
  movl $page_map, %eax
  movl %eax, %cr3
  movl $0xc0000080, %ecx              // EFER: long mode
  rdmsr
  orl $0x100, %eax
  wrmsr
  movl %cr0, %eax
  orl $0x80010001, %eax               // paging, write protection, protected mode
  movl %eax, %cr0
  lgdt gdt_register
  ljmp $8, $enter_64

  .code64
enter_64:
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $stack_end, %esp
  xorl %ebp, %ebp
  movl %esi, %edi
  call kernel_main
  ud2

  .section .rodata
  .balign 8
gdt:
  .quad 0
  .quad 0x00209a0000000000            // 8: 64-bit code
  .quad 0x0000920000000000            // 16: data
gdt_register:
  .word gdt_register - gdt - 1
  .quad gdt

  .bss
  .balign 4096
page_map:
  .skip 4096
page_directory:
  .skip 4096
stack:
  .skip 65536
stack_end:

  .section .note.GNU-stack, "", @progbits
