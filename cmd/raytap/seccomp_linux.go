package main

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What reads an attacker's bytes needs no new programs, no look into other processes and no new parts of the kernel. A
// seccomp filter refuses (EPERM) the system calls for that, on all threads and for good. It is a list of what is
// refused, not of what is allowed: Go's runtime and the resolver take other calls on other kernels, and a sensor that
// dies of a call that nobody thought of is of no use. Landlock bounds the files.

// refused are the system calls that the filter refuses, by what they are for. Those that an architecture does not have
// are left out.
var refused = [...]string{
	// Other programs.
	"execve", "execveat", "fork", "vfork", "uselib",
	// Other processes: what they are and hold.
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
	"move_pages", "migrate_pages", "perf_event_open", "fanotify_init", "lookup_dcookie",
	// Other namespaces and roots, mounts.
	"unshare", "setns", "chroot", "pivot_root", "mount", "umount", "umount2", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount",
	"fspick", "mount_setattr", "statmount", "listmount", "quotactl", "quotactl_fd", "swapon", "swapoff", "nfsservctl",
	// Files past the folders that they are in, and files that have none.
	"open_by_handle_at", "name_to_handle_at", "memfd_create", "memfd_secret", "mknod", "mknodat",
	// The kernel itself, and parts of it that have had many holes and that nothing here needs.
	"init_module", "finit_module", "delete_module", "create_module", "query_module", "get_kernel_syms", "kexec_load", "kexec_file_load", "bpf", "userfaultfd",
	"io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "io_submit", "keyctl", "add_key", "request_key", "vmsplice",
	"modify_ldt", "iopl", "ioperm", "pciconfig_iobase", "pciconfig_read", "pciconfig_write", "personality", "remap_file_pages", "set_mempolicy_home_node",
	"_sysctl", "sysfs", "ustat", "vserver", "afs_syscall", "tuxcall", "security", "lsm_set_self_attr",
	// The machine.
	"reboot", "acct", "syslog", "vhangup", "sethostname", "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
	// Who it is: that was settled at the start.
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid", "setns", "setpgid", "setsid",
}

// sockets are the families that a run takes: packets, the network's names and servers, syslog and systemd, and the state
// of links.
var sockets = [...]uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET}

// namespaces are the flags of clone that make some.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// allowSpeculation keeps the kernel from slowing down the process by what it does against speculation of those that run
// foreign code (SECCOMP_FILTER_FLAG_SPEC_ALLOW, the default since Linux 5.16).
const allowSpeculation seccomp.FilterFlag = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW

// filter gives the policy for the architecture of this build, and how many system calls it refuses altogether.
// With shunting, bpf writes and deletes elements of the tables that the process has, and does nothing else.
func filter(shunting bool) (*seccomp.Policy, int, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, 0, err
	}
	var names []string
	for _, n := range refused {
		if _, ok := info.SyscallNames[n]; ok && !(shunting && n == "bpf") && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	var family seccomp.ArgumentConditions
	for _, f := range sockets {
		family = append(family, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: f})
	}
	with := func(name string, arg uint32, bits uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: arg, Operation: seccomp.BitsSet, Value: bits}}}
	}
	conditions := []seccomp.NameWithConditions{
		{Name: "socket", Conditions: family},
		with("clone", 0, namespaces),
		with("mmap", 2, unix.PROT_EXEC), // all code is in the program
		with("mprotect", 2, unix.PROT_EXEC),
		with("pkey_mprotect", 2, unix.PROT_EXEC),
	}
	if shunting {
		conditions = append(conditions, seccomp.NameWithConditions{Name: "bpf", Conditions: seccomp.ArgumentConditions{
			{Argument: 0, Operation: seccomp.NotEqual, Value: unix.BPF_MAP_UPDATE_ELEM},
			{Argument: 0, Operation: seccomp.NotEqual, Value: unix.BPF_MAP_DELETE_ELEM},
		}})
	}
	return &seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			// Its flags are out of a filter's sight. Whoever calls it falls back to clone, whose are not.
			{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
			{Names: names, Action: seccomp.ActionErrno | seccomp.Action(unix.EPERM)},
			{
				NamesWithCondtions: conditions,
				Action:             seccomp.ActionErrno | seccomp.Action(unix.EPERM),
			},
		},
	}, len(names), nil
}

// restrict loads the filter on all threads. It says in a few words what is in force, or why nothing is.
func restrict(shunting bool) (says string, err error) {
	policy, n, err := filter(shunting)
	if err != nil {
		return "no seccomp: " + err.Error(), nil // an architecture that the library does not know
	}
	// Its own thread first loses the way to new privileges; the others get both with the filter.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if !seccomp.Supported() {
		return "the kernel has no seccomp: every system call is allowed", nil
	}
	load := func(flags seccomp.FilterFlag) error {
		return seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: flags, Policy: *policy})
	}
	flags := seccomp.FilterFlagTSync | allowSpeculation
	err = load(flags)
	if err != nil { // before Linux 4.17
		flags = seccomp.FilterFlagTSync
		err = load(flags)
	}
	if err == nil {
		err = nativeOnly(flags)
	}
	if err != nil {
		return "", fmt.Errorf("raytap: cannot be restricted (--seccomp=false does without): %w", err)
	}
	return fmt.Sprintf("seccomp refuses %d system calls", n), nil
}

// nativeOnly loads a filter that refuses the system calls of other architectures that the machine runs as well, of i386
// on x86-64: their numbers are others, and the library's filter lets them all pass.
func nativeOnly(flags seccomp.FilterFlag) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	const archOffset = 4 // of struct seccomp_data
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&program))); e != 0 {
		return e
	}
	return nil
}
