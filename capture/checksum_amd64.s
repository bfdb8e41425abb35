#include "textflag.h"

// func sumAVX2(b *byte, n int) uint64
//
// Every 64-bit word is taken apart into its two 32-bit halves, which are added to 64-bit sums: no carry can be lost, as
// n is below 2^32. Four sums of four words each go beside one another.
TEXT ·sumAVX2(SB), NOSPLIT, $0-24
	MOVQ b+0(FP), SI
	MOVQ n+8(FP), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPCMPEQD Y15, Y15, Y15
	VPSRLQ $32, Y15, Y15 // the lower half of every word
	SUBQ $128, CX
	JLT small

large:
	VMOVDQU (SI), Y4
	VMOVDQU 32(SI), Y5
	VMOVDQU 64(SI), Y6
	VMOVDQU 96(SI), Y7
	VPAND Y15, Y4, Y8
	VPAND Y15, Y5, Y9
	VPAND Y15, Y6, Y10
	VPAND Y15, Y7, Y11
	VPSRLQ $32, Y4, Y4
	VPSRLQ $32, Y5, Y5
	VPSRLQ $32, Y6, Y6
	VPSRLQ $32, Y7, Y7
	VPADDQ Y8, Y4, Y4
	VPADDQ Y9, Y5, Y5
	VPADDQ Y10, Y6, Y6
	VPADDQ Y11, Y7, Y7
	VPADDQ Y4, Y0, Y0
	VPADDQ Y5, Y1, Y1
	VPADDQ Y6, Y2, Y2
	VPADDQ Y7, Y3, Y3
	ADDQ $128, SI
	SUBQ $128, CX
	JGE large

small:
	ADDQ $128, CX
	JEQ done

next:
	VMOVDQU (SI), Y4
	VPAND Y15, Y4, Y8
	VPSRLQ $32, Y4, Y4
	VPADDQ Y8, Y0, Y0
	VPADDQ Y4, Y1, Y1
	ADDQ $32, SI
	SUBQ $32, CX
	JNE next

done:
	VPADDQ Y1, Y0, Y0
	VPADDQ Y3, Y2, Y2
	VPADDQ Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDQ X1, X0, X0
	VPSRLDQ $8, X0, X1
	VPADDQ X1, X0, X0
	VMOVQ X0, AX
	VZEROUPPER
	MOVQ AX, ret+16(FP)
	RET
