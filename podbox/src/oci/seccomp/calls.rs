//! The system calls of containerd's default profile, by what they are for. A call that is not here is refused.
//!
//! Names of calls that the architecture does not have are left out when the filter is compiled, so one list serves
//! x86-64 and aarch64 and the 32-bit architectures beside them.

/// What every container may call, words separated by white space.
pub(super) const EVERYBODY: &[&str] = &[
    // Files by descriptor.
    "read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek close close_range dup dup2
     dup3 fcntl fcntl64 flock fsync fdatasync fallocate ftruncate ftruncate64 fadvise64 fadvise64_64
     arm_fadvise64_64 readahead sync sync_file_range sync_file_range2 arm_sync_file_range syncfs copy_file_range
     sendfile sendfile64 splice tee vmsplice ioctl cachestat",
    // Files by name.
    "open openat openat2 creat access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 newfstatat
     fstatat64 oldfstat oldlstat oldstat statx statfs statfs64 fstatfs fstatfs64 truncate truncate64 readlink
     readlinkat link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod
     mknodat getdents getdents64 chdir fchdir getcwd umask name_to_handle_at",
    // Owners, modes, times and attributes of files.
    "chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 utime utimes utimensat
     utimensat_time64 futimesat getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
     listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat",
    // What mounts there are; not how to change them.
    "listmount statmount",
    // Pipes, events and waiting for descriptors.
    "pipe pipe2 eventfd eventfd2 signalfd signalfd4 poll ppoll ppoll_time64 select _newselect pselect6
     pselect6_time64 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait
     epoll_pwait2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark io_setup io_submit
     io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64",
    // Memory.
    "brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall
     remap_file_pages memfd_create memfd_secret membarrier mseal map_shadow_stack pkey_alloc pkey_free pkey_mprotect
     process_mrelease",
    // Processes: their birth, end, names and groups. clone has a rule of its own.
    "fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid
     getsid setsid prctl getcpu getrusage times uname sysinfo set_tid_address set_thread_area get_thread_area
     set_robust_list get_robust_list rseq pidfd_open pidfd_send_signal getrlimit ugetrlimit setrlimit prlimit64
     getpriority setpriority ioprio_get ioprio_set restart_syscall",
    // Debugging what one may debug anyway; since Linux 4.8 seccomp cannot be evaded by it.
    "ptrace process_vm_readv process_vm_writev",
    // Who a process is and what it may do.
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32
     getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid
     setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset
     seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    // Signals.
    "kill tkill tgkill pause alarm sigaltstack sigprocmask sigreturn rt_sigaction rt_sigpending rt_sigprocmask
     rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo",
    // Scheduling.
    "sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
     sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
     sched_rr_get_interval_time64",
    // Locks.
    "futex futex_time64 futex_wait futex_wake futex_waitv futex_requeue",
    // Time, and timers; adjtimex and clock_adjtime change the clock only with CAP_SYS_TIME.
    "time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
     clock_nanosleep_time64 adjtimex clock_adjtime clock_adjtime64 nanosleep getitimer setitimer timer_create
     timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
     timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64",
    // Sockets. socket has a rule of its own.
    "socketpair socketcall bind connect listen accept accept4 shutdown getsockname getpeername getsockopt setsockopt
     send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64",
    // System V IPC and message queues.
    "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
     mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
     mq_unlink",
    // Random numbers.
    "getrandom",
];

/// What only programs of one architecture know.
#[cfg(target_arch = "x86_64")]
pub(super) const OF_THE_ARCHITECTURE: &str = "arch_prctl modify_ldt";
/// What only programs of one architecture know.
#[cfg(target_arch = "aarch64")]
pub(super) const OF_THE_ARCHITECTURE: &str = "breakpoint cacheflush set_tls";

/// What a capability brings along.
pub(super) const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_BPF", "bpf"),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ("CAP_PERFMON", "perf_event_open"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module query_module"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYSLOG", "syslog"),
];
