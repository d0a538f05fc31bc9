/* A guest without firmware, kernel or disk: it goes through the processor's modes as an operating system does, and
   writes a letter to the first serial port for each one reached. An accelerator that only claims to work gets stuck
   or resets the guest on the way; one that works writes all of them within milliseconds.

     R  real mode: the reset vector was fetched        K  computed for a while in kernel mode
     P  protected mode                                 U  entered user mode
     L  long mode, with paging                         B  computed there, and came back by an interrupt

   QEMU maps the last 64 KiB of its firmware below 1 MiB too, at BASE, and the code runs there. The descriptors have
   their accessed bits set already: the processor could not set them in read-only memory. */

.intel_syntax noprefix
.set BASE,   0xf0000
.set SERIAL, 0x3f8
.set ROUNDS, 0x10000

/* The RAM it uses, all below 64 KiB. */
.set PML4,  0x1000
.set PDPT,  0x2000
.set PD,    0x3000
.set TSS,   0x4000
.set GDT,   0x5000
.set END,   0x6000
.set STACK, 0x8000

.set CODE32, 0x08
.set DATA,   0x10
.set CODE64, 0x18
.set USER_DATA, 0x20 | 3
.set USER_CODE, 0x28 | 3
.set TASK,   0x30

.macro say letter
    mov dx, SERIAL
    mov al, \letter
    out dx, al
.endm

.text
.code16
start:
    cli
    cld
    say 'R'
    mov ax, cs
    mov ds, ax
    lgdt [rom_gdt_pointer - start]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea            /* jmp CODE32:protected */
    .long BASE + protected - start
    .word CODE32

.code32
protected:
    mov eax, DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, STACK
    say 'P'
    /* One page of 2 MiB, open to user mode, is all the memory there is. */
    mov edi, PML4
    mov ecx, (END - PML4) / 4
    xor eax, eax
    rep stosd
    mov dword ptr [PML4], PDPT | 7
    mov dword ptr [PDPT], PD | 7
    mov dword ptr [PD], 0x87
    mov eax, PML4
    mov cr3, eax
    mov eax, cr4
    or eax, 1 << 5              /* PAE */
    mov cr4, eax
    mov ecx, 0xc0000080         /* EFER */
    rdmsr
    or eax, 1 << 8              /* LME */
    wrmsr
    mov eax, cr0
    or eax, 1 << 31             /* PG */
    mov cr0, eax
    .byte 0xea                  /* jmp CODE64:long */
    .long BASE + long - start
    .word CODE64

.code64
long:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, STACK
    say 'L'
    mov ecx, ROUNDS
1:  imul rax, rax, 5
    inc rax
    dec ecx
    jnz 1b
    say 'K'
    /* Loading the task register marks its descriptor busy, so the descriptors have to be in RAM from here on. */
    mov esi, BASE + rom_gdt - start
    mov edi, GDT
    mov ecx, (rom_gdt_end - rom_gdt) / 8
    rep movsq
    lgdt [BASE + gdt_pointer - start]
    lidt [BASE + idt_pointer - start]
    mov dword ptr [TSS + 4], STACK - 0x800  /* the stack for interrupts out of user mode */
    mov eax, TASK
    ltr ax
    push USER_DATA
    push STACK - 0x1000
    push 0x3002                 /* flags: user mode may use the serial port */
    push USER_CODE
    mov eax, BASE + user - start
    push rax
    iretq

user:
    say 'U'
    mov ecx, ROUNDS
1:  imul rax, rax, 7
    inc rax
    dec ecx
    jnz 1b
    int 0x80

back:
    say 'B'
2:  hlt
    jmp 2b

.balign 16
gate:                           /* of interrupt 0x80, the only one there is; user mode may call it */
    .word back - start
    .word CODE64
    .word 0xee00
    .word BASE >> 16
    .quad 0
rom_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    /* CODE32 */
    .quad 0x00cf93000000ffff    /* DATA */
    .quad 0x00af9b000000ffff    /* CODE64 */
    .quad 0x00cff3000000ffff    /* USER_DATA */
    .quad 0x00affb000000ffff    /* USER_CODE */
    .quad 0x0000890000000067 | TSS << 16
    .quad 0
rom_gdt_end:
rom_gdt_pointer:
    .word rom_gdt_end - rom_gdt - 1
    .long BASE + rom_gdt - start
gdt_pointer:
    .word rom_gdt_end - rom_gdt - 1
    .quad GDT
idt_pointer:                    /* as if the table's other 128 gates lay before this one */
    .word 0x80 * 16 + 15
    .quad BASE + gate - start - 0x80 * 16

.org 0xfff0
.code16
reset:
    .byte 0xea                  /* jmp 0xf000:0 */
    .word 0
    .word BASE >> 4
.org 0xffff
    .byte 0
