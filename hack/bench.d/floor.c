/*
 * floor.c - the least this kernel lets a two-container pod cost.
 *
 * One process, raw syscalls, raw rtnetlink. For each pod:
 *
 *   up    clone a sandbox process with new NET+IPC+UTS namespaces;
 *         one RTM_NEWLINK makes the veth pair: the outer end is born in the
 *         bridge and up, the inner end is born in the pod's netns;
 *         one batch inside the netns: lo and eth0 up, address, default route;
 *         then C containers in parallel, each clone(NEWNS|NEWPID|NEWCGROUP),
 *         setns(sandbox: net+ipc+uts), overlay over a busybox rootfs,
 *         pivot_root, /proc, tmpfs /dev with device nodes, exec sleep.
 *         "up" ends when every container's CLOEXEC pipe has reached EOF.
 *   down  SIGKILL, reap, delete the veth, remove the overlay's upper layer
 *         (the overlay is mounted in the container's own mount namespace, so
 *         it goes with the container's last process).
 *
 * No cgroup is made, no log is kept, nothing survives a crash: this is a
 * yardstick, not a runtime. See usage().
 *
 * With -i it obeys lines on standard input, so that a benchmark can measure it
 * in turn with others: "up N", "down N" (pod N), "restart N", "exec N" (in the
 * first container of pod N), "plain" (the same program with no namespaces). It
 * answers each with the nanoseconds that it took. -D NAME deletes a link.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/mount.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MS_REC
#define MS_REC 16384
#endif
#ifndef MS_PRIVATE
#define MS_PRIVATE (1 << 18)
#endif
#ifndef MS_SLAVE
#define MS_SLAVE (1 << 19)
#endif
#ifndef MS_NOSUID
#define MS_NOSUID 2
#define MS_NODEV 4
#define MS_NOEXEC 8
#endif
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);

#define MAXC 8
#define MAXPODS 1000 /* with -i: pods 0 to 999 */

static int opt_n = 50, opt_keep, opt_mem, opt_ctrs = 2, opt_pieces, opt_restart, opt_volatile;
static int opt_vm, opt_no6, opt_settle_ms = 20, opt_vethfirst, opt_async;
static int opt_tmpfs, opt_quiet, opt_raw, opt_serial;
static int opt_serve;
static const char *opt_bridge = "flr0", *opt_net = "10.244.0.0", *opt_program = "/bin/busybox";
static const char *opt_dir = "/tmp/floor.d";
static int self_netns = -1, br_index, br_made;

static void die(const char *fmt, ...)
{
	va_list ap;
	int e = errno;
	va_start(ap, fmt);
	fprintf(stderr, "floor: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(e));
	va_end(ap);
	_exit(1);
}

static inline uint64_t now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void settle(int ms)
{
	struct timespec ts = { ms / 1000, (ms % 1000) * 1000000L };
	nanosleep(&ts, NULL);
}

/* ---------------------------------------------------------------- series */

struct series {
	const char *name;
	double *v;
	int n, cap;
};

static void push(struct series *s, uint64_t ns)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 256;
		s->v = realloc(s->v, s->cap * sizeof *s->v);
		if (!s->v)
			die("realloc");
	}
	s->v[s->n++] = ns / 1000.0;
}

static int cmpd(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void head(const char *title)
{
	printf("\n%s\n%-44s %6s %9s %9s %9s %9s  (us)\n", title, "", "n", "min", "median", "p95", "max");
}

static void show(struct series *s)
{
	if (!s->n)
		return;
	double *c = malloc(s->n * sizeof *c);
	memcpy(c, s->v, s->n * sizeof *c);
	qsort(c, s->n, sizeof *c, cmpd);
	printf("%-44s %6d %9.1f %9.1f %9.1f %9.1f\n", s->name, s->n, c[0],
	       (c[s->n / 2] + c[(s->n - 1) / 2]) / 2, c[(int)((s->n - 1) * 0.95)], c[s->n - 1]);
	if (opt_raw) {
		printf("  raw:");
		for (int i = 0; i < s->n; i++)
			printf(" %.0f", s->v[i]);
		printf("\n");
	}
	free(c);
}

/* -------------------------------------------------------------- netlink */

struct req {
	char b[4096];
	int len;
	struct nlmsghdr *h; /* current message */
};

static struct nlmsghdr *msg(struct req *r, int type, int flags, const void *body, int blen)
{
	r->len = NLMSG_ALIGN(r->len);
	r->h = (void *)(r->b + r->len);
	memset(r->h, 0, sizeof *r->h);
	r->h->nlmsg_type = type;
	r->h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	r->h->nlmsg_len = NLMSG_LENGTH(blen);
	memcpy(NLMSG_DATA(r->h), body, blen);
	r->len += NLMSG_ALIGN(r->h->nlmsg_len);
	return r->h;
}

static struct rtattr *attr(struct req *r, int type, const void *d, int dlen)
{
	struct rtattr *a = (void *)(r->b + r->len);
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(dlen);
	if (dlen)
		memcpy(RTA_DATA(a), d, dlen);
	r->len += RTA_ALIGN(a->rta_len);
	r->h->nlmsg_len = r->b + r->len - (char *)r->h;
	return a;
}

static void attr_end(struct req *r, struct rtattr *a)
{
	a->rta_len = r->b + r->len - (char *)a;
}

static int nl_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		die("netlink socket");
	return fd;
}

/* Sends every message in r at once and waits for n acks; 0 or the first -errno. */
static int nl_do(int fd, struct req *r, int n)
{
	char buf[16384];
	int err = 0;
	if (send(fd, r->b, r->len, 0) != r->len)
		return -errno;
	while (n > 0) {
		int l = recv(fd, buf, sizeof buf, 0);
		if (l < 0)
			return -errno;
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, (unsigned)l); h = NLMSG_NEXT(h, l))
			if (h->nlmsg_type == NLMSG_ERROR) {
				struct nlmsgerr *e = NLMSG_DATA(h);
				if (e->error && !err)
					err = e->error;
				n--;
			}
	}
	return err;
}

static void q_link_up(struct req *r, int index)
{
	struct ifinfomsg ifi = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	msg(r, RTM_NEWLINK, 0, &ifi, sizeof ifi);
}

static void q_addr(struct req *r, int index, uint32_t ip, int plen)
{
	struct ifaddrmsg ifa = { .ifa_family = AF_INET, .ifa_prefixlen = plen, .ifa_index = index };
	uint32_t brd = ip | htonl(0xffffffffu >> plen);
	msg(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &ifa, sizeof ifa);
	attr(r, IFA_LOCAL, &ip, 4);
	attr(r, IFA_ADDRESS, &ip, 4);
	attr(r, IFA_BROADCAST, &brd, 4);
}

static void q_defroute(struct req *r, int index, uint32_t gw)
{
	struct rtmsg rt = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
			    .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
	msg(r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &rt, sizeof rt);
	attr(r, RTA_GATEWAY, &gw, 4);
	attr(r, RTA_OIF, &index, 4);
}

static void q_no6(struct req *r)
{
	uint8_t mode = 1; /* IN6_ADDR_GEN_MODE_NONE */
	struct rtattr *af = attr(r, IFLA_AF_SPEC | NLA_F_NESTED, NULL, 0);
	struct rtattr *i6 = attr(r, AF_INET6 | NLA_F_NESTED, NULL, 0);
	attr(r, IFLA_INET6_ADDR_GEN_MODE, &mode, 1);
	attr_end(r, i6);
	attr_end(r, af);
}

/* outer end: `name`, in the bridge `master` (0: none), up if so asked; inner end: `pname` in netns `nsfd` (-1: here), down */
static void q_veth(struct req *r, const char *name, const char *pname, int nsfd, int master, int up, int group)
{
	struct ifinfomsg ifi = { 0 };
	if (up)
		ifi.ifi_flags = ifi.ifi_change = IFF_UP;
	msg(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifi, sizeof ifi);
	attr(r, IFLA_IFNAME, name, strlen(name) + 1);
	if (master)
		attr(r, IFLA_MASTER, &master, 4);
	if (group)
		attr(r, IFLA_GROUP, &group, 4);
	struct rtattr *li = attr(r, IFLA_LINKINFO | NLA_F_NESTED, NULL, 0);
	attr(r, IFLA_INFO_KIND, "veth", 4);
	struct rtattr *da = attr(r, IFLA_INFO_DATA | NLA_F_NESTED, NULL, 0);
	struct rtattr *pe = attr(r, VETH_INFO_PEER | NLA_F_NESTED, NULL, 0);
	/* not IFF_UP here: veth_open() says ENOTCONN until the pair is joined */
	memset(r->b + r->len, 0, sizeof ifi);
	r->len += sizeof ifi;
	attr(r, IFLA_IFNAME, pname, strlen(pname) + 1);
	if (nsfd >= 0)
		attr(r, IFLA_NET_NS_FD, &nsfd, 4);
	attr_end(r, pe);
	attr_end(r, da);
	attr_end(r, li);
}

static int link_del(int nl, const char *name)
{
	struct req r = { .len = 0 };
	struct ifinfomsg ifi = { 0 };
	msg(&r, RTM_DELLINK, 0, &ifi, sizeof ifi);
	attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	return nl_do(nl, &r, 1);
}

static int ifindex(const char *name)
{
	struct ifreq ifr;
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	memset(&ifr, 0, sizeof ifr);
	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	rc = ioctl(s, SIOCGIFINDEX, &ifr);
	close(s);
	return rc < 0 ? 0 : ifr.ifr_ifindex;
}

static uint32_t host_number(uint32_t n)
{
	return inet_addr(opt_net) + htonl(n);
}

static void bridge_setup(int nl)
{
	br_index = ifindex(opt_bridge);
	if (!br_index) {
		struct req r = { .len = 0 };
		struct ifinfomsg ifi = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
		msg(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifi, sizeof ifi);
		attr(&r, IFLA_IFNAME, opt_bridge, strlen(opt_bridge) + 1);
		struct rtattr *li = attr(&r, IFLA_LINKINFO | NLA_F_NESTED, NULL, 0);
		attr(&r, IFLA_INFO_KIND, "bridge", 6);
		attr_end(&r, li);
		int e = nl_do(nl, &r, 1);
		if (e)
			errno = -e, die("bridge %s", opt_bridge);
		br_index = ifindex(opt_bridge);
		br_made = 1;
		struct req a = { .len = 0 };
		q_addr(&a, br_index, host_number(1), 16);
		e = nl_do(nl, &a, 1);
		if (e)
			errno = -e, die("bridge address");
	}
}

/* ----------------------------------------------------------------- rootfs */

static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	int i = open(from, O_RDONLY | O_CLOEXEC), o, l;
	if (i < 0)
		die("%s", from);
	o = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (o < 0)
		die("%s", to);
	while ((l = read(i, buf, sizeof buf)) > 0)
		if (write(o, buf, l) != l)
			die("write %s", to);
	close(i);
	close(o);
}

static void rmrf_at(int dfd, const char *name)
{
	int fd = openat(dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		unlinkat(dfd, name, 0);
		return;
	}
	DIR *d = fdopendir(fd);
	struct dirent *e;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			if (unlinkat(fd, e->d_name, 0) < 0)
				rmrf_at(fd, e->d_name);
	closedir(d);
	unlinkat(dfd, name, AT_REMOVEDIR);
}

static char lower[256];

static void rootfs_setup(void)
{
	static const char *dirs[] = { "", "/bin", "/proc", "/dev", "/sys", "/tmp", "/etc" };
	char p[512];
	mkdir(opt_dir, 0755);
	if (opt_tmpfs && mount("tmpfs", opt_dir, "tmpfs", 0, NULL) < 0)
		die("tmpfs on %s", opt_dir);
	snprintf(lower, sizeof lower, "%s/rootfs", opt_dir);
	for (unsigned i = 0; i < sizeof dirs / sizeof *dirs; i++) {
		snprintf(p, sizeof p, "%s%s", lower, dirs[i]);
		mkdir(p, 0755);
	}
	snprintf(p, sizeof p, "%s/bin/busybox", lower);
	if (access(p, X_OK))
		copy_file(opt_program, p);
	snprintf(p, sizeof p, "%s/bin/sleep", lower);
	if (symlink("busybox", p) < 0 && errno != EEXIST)
		die("symlink");
}

/* ------------------------------------------------------------------- pods */

/* what a child reports of itself, in memory shared with the parent */
struct marks {
	uint64_t start, joined, overlay, pivot, proc, dev;
};

struct pod {
	int id, sandbox, pidfd, netns;
	int ctr[MAXC], rd[MAXC];
	uint64_t t_up, t_down;
};

static struct marks *shm; /* MAXC of them */

static struct series
	s_clone = { "clone sandbox NEWNET|NEWIPC|NEWUTS" },
	s_veth = { "veth pair (inner in netns, outer in bridge, up)" },
	s_addr = { "in netns: lo up, eth0 up, address, route" },
	s_prep = { "mkdir upper/work (all containers)" },
	s_cclone = { "container clone NEWNS|NEWPID|NEWCGROUP" },
	s_cstart = { "  child: first instruction after clone call" },
	s_join = { "  child: setns net+ipc+uts" },
	s_ovl = { "  child: overlay mount" },
	s_pivot = { "  child: pivot_root + detach old root" },
	s_proc = { "  child: mount /proc" },
	s_dev = { "  child: tmpfs /dev + nodes" },
	s_exec = { "  child: exec (to EOF seen by parent)" },
	s_ctrs = { "all containers, first clone to last exec" },
	s_up = { "UP total" },
	s_kill = { "SIGKILL + reap all" },
	s_vdel = { "veth delete" },
	s_rm = { "remove upper/work" },
	s_down = { "DOWN total" };

static long sys_clone(unsigned long flags)
{
	return syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

#define CDIE(what) do { dprintf(2, "floor child: %s: %s\n", what, strerror(errno)); _exit(127); } while (0)

static void container_child(int podid, int c, int pidfd, struct marks *m)
{
	static const struct { const char *n; int mode, maj, min; } nodes[] = {
		{ "/dev/null", 0666, 1, 3 }, { "/dev/zero", 0666, 1, 5 }, { "/dev/full", 0666, 1, 7 },
		{ "/dev/random", 0666, 1, 8 }, { "/dev/urandom", 0666, 1, 9 }, { "/dev/tty", 0666, 5, 0 },
	};
	static const char *links[][2] = { { "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" } };
	char up[300], wk[300];
	m->start = now();
	if (setns(pidfd, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		CDIE("setns");
	m->joined = now();

	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		CDIE("slave /");
	snprintf(up, sizeof up, "%s/p%d.%d.u", opt_dir, podid, c);
	snprintf(wk, sizeof wk, "%s/p%d.%d.w", opt_dir, podid, c);
	int fs = syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		CDIE("fsopen overlay");
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "upperdir", up, 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "workdir", wk, 0) < 0 ||
	    (opt_volatile && syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		CDIE("fsconfig overlay");
	int mfd = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (mfd < 0)
		CDIE("fsmount");
	close(fs);
	if (syscall(SYS_move_mount, mfd, "", AT_FDCWD, lower, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		CDIE("move_mount");
	m->overlay = now();

	if (fchdir(mfd) < 0)
		CDIE("fchdir");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		CDIE("pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		CDIE("umount old root");
	if (chdir("/") < 0)
		CDIE("chdir");
	m->pivot = now();

	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		CDIE("proc");
	m->proc = now();

	if (mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k") < 0)
		CDIE("dev");
	umask(0);
	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
		if (mknod(nodes[i].n, S_IFCHR | nodes[i].mode, makedev(nodes[i].maj, nodes[i].min)) < 0)
			CDIE("mknod");
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
		if (symlink(links[i][0], links[i][1]) < 0)
			CDIE("symlink");
	mkdir("/dev/shm", 01777);
	mkdir("/dev/pts", 0755);
	umask(022);
	int n = open("/dev/null", O_RDWR);
	dup2(n, 0), dup2(n, 1);
	m->dev = now();
	char *av[] = { "/bin/sleep", "1000", NULL }, *ev[] = { "PATH=/bin", NULL };
	execve(av[0], av, ev);
	CDIE("exec");
}

static char vstack[MAXC][65536] __attribute__((aligned(64)));
struct vmarg { int podid, c, pidfd; struct marks *m; };
static struct vmarg vargs[MAXC];
static int vm_entry(void *a)
{
	struct vmarg *v = a;
	container_child(v->podid, v->c, v->pidfd, v->m);
	return 0;
}

static void ctr_start(struct pod *p, int c)
{
	int pipefd[2];
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		die("pipe");
	if (opt_vm) {
		vargs[c] = (struct vmarg){ p->id, c, p->pidfd, &shm[c] };
		p->ctr[c] = clone(vm_entry, vstack[c] + sizeof vstack[c],
				  CLONE_VM | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP | SIGCHLD, &vargs[c]);
	} else {
		p->ctr[c] = sys_clone(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP);
		if (!p->ctr[c])
			container_child(p->id, c, p->pidfd, &shm[c]);
	}
	if (p->ctr[c] < 0)
		die("clone container");
	close(pipefd[1]);
	p->rd[c] = pipefd[0];
}

/* until the container has exec'd (its end of the pipe is closed by that); when */
static uint64_t ctr_wait(struct pod *p, int c)
{
	char x;
	while (read(p->rd[c], &x, 1) < 0 && errno == EINTR)
		;
	return now();
}

static void pod_up(struct pod *p, int nl)
{
	uint64_t t0 = now(), t1, t2, t3, t4, t5;
	char name[IFNAMSIZ], path[300];
	int e;
	uint64_t cs[MAXC], ce[MAXC];

	p->sandbox = syscall(SYS_clone, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | SIGCHLD, 0, &p->pidfd, 0, 0);
	if (p->sandbox < 0)
		die("clone sandbox");
	if (!p->sandbox) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	t1 = now();

	snprintf(path, sizeof path, "/proc/%d/ns/net", p->sandbox);
	p->netns = open(path, O_RDONLY | O_CLOEXEC);
	if (p->netns < 0)
		die("%s", path);
	snprintf(name, sizeof name, "flr-%d", p->id);
	struct req r = { .len = 0 };
	q_veth(&r, name, "eth0", p->netns, br_index, !opt_no6, 0);
	if (opt_no6) { /* AF_SPEC is not taken at creation: a second message in the same batch */
		struct ifinfomsg ifi = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
		msg(&r, RTM_NEWLINK, 0, &ifi, sizeof ifi);
		attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
		q_no6(&r);
	}
	if ((e = nl_do(nl, &r, 1 + opt_no6)))
		errno = -e, die("veth %s", name);
	t2 = now();

	if (setns(p->netns, CLONE_NEWNET) < 0)
		die("setns");
	int in = nl_open();
	int eth = ifindex("eth0");
	if (setns(self_netns, CLONE_NEWNET) < 0)
		die("setns back");
	struct req b = { .len = 0 };
	q_link_up(&b, 1);
	q_link_up(&b, eth);
	if (opt_no6)
		q_no6(&b);
	q_addr(&b, eth, host_number(2 + p->id), 16);
	q_defroute(&b, eth, host_number(1));
	if ((e = nl_do(in, &b, 4)))
		errno = -e, die("address/route");
	close(in);
	close(p->netns); /* the sandbox process keeps the namespace */
	t3 = now();

	for (int c = 0; c < opt_ctrs; c++) {
		snprintf(path, sizeof path, "%s/p%d.%d.u", opt_dir, p->id, c);
		if (mkdir(path, 0755) < 0)
			die("%s", path);
		snprintf(path, sizeof path, "%s/p%d.%d.w", opt_dir, p->id, c);
		if (mkdir(path, 0700) < 0)
			die("%s", path);
	}
	t4 = now();

	for (int c = 0; c < opt_ctrs; c++) {
		cs[c] = now();
		ctr_start(p, c);
		ce[c] = now();
		if (opt_serial)
			ctr_wait(p, c);
	}
	for (int c = 0; c < opt_ctrs; c++) {
		uint64_t t = ctr_wait(p, c);
		close(p->rd[c]);
		push(&s_cclone, ce[c] - cs[c]);
		push(&s_cstart, shm[c].start - cs[c]);
		push(&s_join, shm[c].joined - shm[c].start);
		push(&s_ovl, shm[c].overlay - shm[c].joined);
		push(&s_pivot, shm[c].pivot - shm[c].overlay);
		push(&s_proc, shm[c].proc - shm[c].pivot);
		push(&s_dev, shm[c].dev - shm[c].proc);
		push(&s_exec, t - shm[c].dev);
	}
	t5 = now();
	push(&s_clone, t1 - t0);
	push(&s_veth, t2 - t1);
	push(&s_addr, t3 - t2);
	push(&s_prep, t4 - t3);
	push(&s_ctrs, t5 - t4);
	push(&s_up, t5 - t0);
	p->t_up = t5 - t0;
	for (int c = 0; c < opt_ctrs; c++) {
		int st;
		if (waitpid(p->ctr[c], &st, WNOHANG) != 0)
			die("pod %d container %d died at once", p->id, c);
	}
}

static void pod_kill(struct pod *p)
{
	for (int c = 0; c < opt_ctrs; c++)
		kill(p->ctr[c], SIGKILL);
	kill(p->sandbox, SIGKILL);
}

static void pod_reap(struct pod *p)
{
	for (int c = 0; c < opt_ctrs; c++)
		waitpid(p->ctr[c], NULL, 0);
	waitpid(p->sandbox, NULL, 0);
	close(p->pidfd);
}

static void pod_rm(struct pod *p)
{
	char path[64];
	int d = open(opt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int c = 0; c < opt_ctrs; c++) {
		snprintf(path, sizeof path, "p%d.%d.u", p->id, c);
		rmrf_at(d, path);
		snprintf(path, sizeof path, "p%d.%d.w", p->id, c);
		rmrf_at(d, path);
	}
	close(d);
}

static void pod_down(struct pod *p, int nl)
{
	char name[IFNAMSIZ];
	int e = 0;
	snprintf(name, sizeof name, "flr-%d", p->id);
	uint64_t t0 = now(), t1, t2, t3;
	if (opt_vethfirst) {
		/* kill, delete the veth while they die, then reap */
		pod_kill(p);
		e = link_del(nl, name);
		t1 = now();
		pod_reap(p);
		t2 = now();
		push(&s_vdel, t1 - t0);
		push(&s_kill, t2 - t1);
	} else {
		pod_kill(p);
		pod_reap(p);
		t1 = now();
		if (!opt_async)
			e = link_del(nl, name);
		t2 = now();
		push(&s_kill, t1 - t0);
		if (!opt_async)
			push(&s_vdel, t2 - t1);
	}
	if (e && e != -ENODEV)
		errno = -e, die("delete %s", name);
	pod_rm(p);
	t3 = now();
	push(&s_rm, t3 - t2);
	push(&s_down, t3 - t0);
	p->t_down = t3 - t0;
}

/* --------------------------------------------- restarts and exec probes */

/* kills container 0 and starts it again; when it was reaped, and when the new one had exec'd */
static void restart_once(struct pod *p, int d, uint64_t *reaped, uint64_t *runs)
{
	char path[64];
	kill(p->ctr[0], SIGKILL);
	waitpid(p->ctr[0], NULL, 0);
	*reaped = now();
	snprintf(path, sizeof path, "p%d.0.u", p->id), rmrf_at(d, path), mkdirat(d, path, 0755);
	snprintf(path, sizeof path, "p%d.0.w", p->id), rmrf_at(d, path), mkdirat(d, path, 0700);
	ctr_start(p, 0);
	*runs = ctr_wait(p, 0);
	close(p->rd[0]);
}

/* clone, exec and wait of the program's `true`: in the container of pfd, or (pfd < 0) right here */
static void exec_once(int pfd, int selfpid)
{
	if (pfd >= 0 && setns(pfd, CLONE_NEWPID) < 0)
		die("setns pid");
	int pid = sys_clone(0);
	if (!pid) {
		char *av[] = { "true", NULL }, *ev[] = { NULL };
		if (pfd >= 0 && setns(pfd, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
			CDIE("setns");
		execve(pfd >= 0 ? "/bin/busybox" : opt_program, av, ev);
		CDIE("exec");
	}
	if (pfd >= 0)
		setns(selfpid, CLONE_NEWPID);
	int st;
	waitpid(pid, &st, 0);
	if (st)
		die("probe: status %x", st);
}

static int pidfd_of(int pid)
{
	int fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		die("pidfd_open");
	return fd;
}

static void restarts(int nl)
{
	struct series k = { "container killed -> reaped" }, u = { "  -> its replacement has exec'd (new upper layer)" },
		      t = { "RESTART total" };
	struct series e1 = { "EXEC PROBE: into the container, true, reaped" }, e2 = { "  clone+exec+wait of true with no namespaces" };
	struct pod p = { .id = 1 };
	pod_up(&p, nl);
	int d = open(opt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int selfpid = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < opt_n; i++) {
		settle(opt_settle_ms);
		uint64_t t0 = now(), t1, t2;
		restart_once(&p, d, &t1, &t2);
		push(&k, t1 - t0), push(&u, t2 - t1), push(&t, t2 - t0);
	}
	int pfd = pidfd_of(p.ctr[0]);
	for (int inside = 1; inside >= 0; inside--)
		for (int i = 0; i < opt_n; i++) {
			settle(5);
			uint64_t t0 = now();
			exec_once(inside ? pfd : -1, selfpid);
			push(inside ? &e1 : &e2, now() - t0);
		}
	head("restart and exec probe");
	show(&t), show(&k), show(&u), show(&e1), show(&e2);
	pod_down(&p, nl);
	close(d), close(pfd), close(selfpid);
}

/* ------------------------------------------------------------------ serve */

static void serve(int nl)
{
	static struct pod pods[MAXPODS];
	char line[64], verb[16];
	int d = open(opt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int selfpid = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	struct pod warm = { .id = MAXPODS };
	pod_up(&warm, nl);
	pod_down(&warm, nl);
	while (fgets(line, sizeof line, stdin)) {
		int id = 0, pfd = -1;
		uint64_t t0 = 0, t1 = 0, t2 = 0;
		if (sscanf(line, "%15s %d", verb, &id) < 1 || id < 0 || id >= MAXPODS)
			errno = EINVAL, die("serve: %s", line);
		struct pod *p = &pods[id];
		if (!strcmp(verb, "up")) {
			p->id = id;
			pod_up(p, nl);
			t2 = p->t_up;
		} else if (!strcmp(verb, "down")) {
			pod_down(p, nl);
			t2 = p->t_down;
			p->sandbox = 0;
		} else if (!strcmp(verb, "restart")) {
			t0 = now();
			restart_once(p, d, &t1, &t2);
		} else if (!strcmp(verb, "exec")) {
			pfd = pidfd_of(p->ctr[0]);
			t0 = now();
			exec_once(pfd, selfpid);
			t2 = now();
			close(pfd);
		} else if (!strcmp(verb, "plain")) {
			t0 = now();
			exec_once(-1, selfpid);
			t2 = now();
		} else {
			errno = EINVAL, die("serve: %s", line);
		}
		printf("%llu\n", (unsigned long long)(t2 - t0));
		fflush(stdout);
	}
	for (int i = 0; i < MAXPODS; i++)
		if (pods[i].sandbox)
			pod_down(&pods[i], nl);
	close(d), close(selfpid);
}

/* ----------------------------------------------------------------- memory */

static const char *memkeys[] = { "MemAvailable", "MemFree", "AnonPages", "Slab", "SReclaimable", "SUnreclaim",
				 "KernelStack", "PageTables", "Percpu", "Shmem", "Mapped" };
#define NMEM (int)(sizeof memkeys / sizeof *memkeys)

static void meminfo(long *v)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char l[256], k[64];
	long x;
	while (fgets(l, sizeof l, f))
		if (sscanf(l, "%63[^:]: %ld", k, &x) == 2)
			for (int i = 0; i < NMEM; i++)
				if (!strcmp(k, memkeys[i]))
					v[i] = x;
	fclose(f);
}

static long pss_kb(int pid)
{
	char p[64], l[256];
	long x, r = 0;
	snprintf(p, sizeof p, "/proc/%d/smaps_rollup", pid);
	FILE *f = fopen(p, "re");
	if (!f)
		return 0;
	while (fgets(l, sizeof l, f))
		if (sscanf(l, "Pss: %ld", &x) == 1)
			r = x;
	fclose(f);
	return r;
}

static void mem_quiesce(void)
{
	int fd;
	sync();
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "3", 1) < 0)
			perror("drop_caches");
		close(fd);
	}
	settle(1000);
}

/* ----------------------------------------------------------------- pieces */

static int event_socket(void)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = nl_open(), sz = 8 << 20;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &sz, sizeof sz);
	if (bind(fd, (void *)&sa, sizeof sa) < 0)
		die("bind");
	return fd;
}

/* waits until n veth outer ends named pz* have gone; returns the time of the last */
static uint64_t wait_gone(int ev, int n)
{
	char buf[65536];
	while (n > 0) {
		struct pollfd pf = { ev, POLLIN, 0 };
		if (poll(&pf, 1, 20000) <= 0) {
			fprintf(stderr, "floor: %d links never went\n", n);
			return now();
		}
		int l = recv(ev, buf, sizeof buf, 0);
		for (struct nlmsghdr *h = (void *)buf; l > 0 && NLMSG_OK(h, (unsigned)l); h = NLMSG_NEXT(h, l)) {
			if (h->nlmsg_type != RTM_DELLINK)
				continue;
			struct ifinfomsg *ifi = NLMSG_DATA(h);
			if (ifi->ifi_family != AF_UNSPEC)
				continue; /* a bridge port's own notice */
			int al = IFLA_PAYLOAD(h);
			for (struct rtattr *a = IFLA_RTA(ifi); RTA_OK(a, al); a = RTA_NEXT(a, al))
				if (a->rta_type == IFLA_IFNAME && !strncmp(RTA_DATA(a), "pz", 2))
					n--;
		}
	}
	return now();
}

static void drain(int ev)
{
	char buf[65536];
	while (recv(ev, buf, sizeof buf, MSG_DONTWAIT) > 0)
		;
}

static int new_netns(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		die("unshare net");
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("ns fd");
	return fd;
}

static void wfile(const char *dir, const char *f, const char *v)
{
	char p[400];
	snprintf(p, sizeof p, "%s/%s", dir, f);
	int fd = open(p, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, v, strlen(v)) < 0)
		die("write %s", p);
	close(fd);
}

static void pieces(int nl)
{
	int n = opt_n, e;
	int *ns = calloc(n, sizeof *ns);
	char nm[32];
	head("pieces: namespaces (each alone)");

	struct series s = { "clone+exit+wait, no namespace" };
	for (int i = 0; i < n; i++) {
		uint64_t t = now();
		int pid = sys_clone(0);
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
		push(&s, now() - t);
	}
	show(&s);

	static const struct { const char *n; int f; } k[] = {
		{ "unshare NEWIPC", CLONE_NEWIPC }, { "unshare NEWUTS", CLONE_NEWUTS },
		{ "unshare NEWNS", CLONE_NEWNS }, { "unshare NEWCGROUP", CLONE_NEWCGROUP }, { "unshare NEWPID", CLONE_NEWPID },
	};
	for (unsigned j = 0; j < sizeof k / sizeof *k; j++) {
		struct series u = { k[j].n };
		uint64_t *d = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		for (int i = 0; i < n; i++) {
			int pid = sys_clone(0);
			if (!pid) {
				uint64_t t = now();
				if (unshare(k[j].f) < 0)
					CDIE("unshare");
				*d = now() - t;
				_exit(0);
			}
			waitpid(pid, NULL, 0);
			push(&u, *d);
		}
		munmap(d, 4096);
		show(&u);
	}

	/* netns creation with nothing dying meanwhile: all are held until later */
	struct series a = { "unshare NEWNET (none dying meanwhile)" };
	for (int i = 0; i < n; i++) {
		uint64_t t = now();
		if (unshare(CLONE_NEWNET) < 0)
			die("unshare net");
		push(&a, now() - t);
		ns[i] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	}
	setns(self_netns, CLONE_NEWNET);
	show(&a);

	struct series b = { "setns to a netns" };
	for (int i = 0; i < n; i++) {
		uint64_t t = now();
		setns(ns[i], CLONE_NEWNET);
		push(&b, now() - t);
	}
	setns(self_netns, CLONE_NEWNET);
	show(&b);

	head("pieces: links");
	struct series c1 = { "veth create, peer in netns, down, no bridge" };
	struct series c2 = { "  + enslave to bridge (RTM_SETLINK)" };
	struct series c3 = { "  + outer end up" };
	struct series c4 = { "  delete that veth (up, in bridge)" };
	struct series c5 = { "veth create in one message, in bridge, up" };
	struct series c6 = { "  delete it (inner end with address, route)" };
	struct series c7 = { "veth create, both here, down" };
	struct series c8 = { "  delete it" };
	for (int i = 0; i < n; i++) {
		snprintf(nm, sizeof nm, "pz%d", i);
		struct req r = { .len = 0 };
		q_veth(&r, nm, "eth0", ns[i], 0, 0, 0);
		uint64_t t = now();
		if ((e = nl_do(nl, &r, 1)))
			errno = -e, die("veth");
		push(&c1, now() - t);
		int x = ifindex(nm);
		struct req m = { .len = 0 };
		struct ifinfomsg ifi = { .ifi_index = x };
		msg(&m, RTM_SETLINK, 0, &ifi, sizeof ifi);
		attr(&m, IFLA_MASTER, &br_index, 4);
		t = now();
		if ((e = nl_do(nl, &m, 1)))
			errno = -e, die("master");
		push(&c2, now() - t);
		struct req u = { .len = 0 };
		q_link_up(&u, x);
		t = now();
		if ((e = nl_do(nl, &u, 1)))
			errno = -e, die("up");
		push(&c3, now() - t);
	}
	for (int i = 0; i < n; i++) {
		snprintf(nm, sizeof nm, "pz%d", i);
		uint64_t t = now();
		if ((e = link_del(nl, nm)))
			errno = -e, die("del");
		push(&c4, now() - t);
	}
	for (int round = 0; round < 2; round++) {
		/* round 0: deleted explicitly; round 1: left for the netns's death */
		for (int i = 0; i < n; i++) {
			snprintf(nm, sizeof nm, "pz%d", i);
			struct req r = { .len = 0 };
			q_veth(&r, nm, "eth0", ns[i], br_index, 1, 0);
			uint64_t t = now();
			if ((e = nl_do(nl, &r, 1)))
				errno = -e, die("veth one message");
			push(&c5, now() - t);
			setns(ns[i], CLONE_NEWNET);
			int in = nl_open(), eth = ifindex("eth0");
			setns(self_netns, CLONE_NEWNET);
			struct req q = { .len = 0 };
			q_link_up(&q, 1);
			q_link_up(&q, eth);
			q_addr(&q, eth, htonl((10u << 24 | 244 << 16) + 2 + i), 16);
			q_defroute(&q, eth, inet_addr("10.244.0.1"));
			if ((e = nl_do(in, &q, 4)))
				errno = -e, die("addr");
			close(in);
		}
		if (round == 0)
			for (int i = 0; i < n; i++) {
				snprintf(nm, sizeof nm, "pz%d", i);
				uint64_t t = now();
				if ((e = link_del(nl, nm)))
					errno = -e, die("del");
				push(&c6, now() - t);
			}
	}
	for (int i = 0; i < n; i++) {
		struct req r = { .len = 0 };
		q_veth(&r, "fz0", "fz1", -1, 0, 0, 0);
		uint64_t t = now();
		if ((e = nl_do(nl, &r, 1)))
			errno = -e, die("veth here");
		push(&c7, now() - t);
		t = now();
		link_del(nl, "fz0");
		push(&c8, now() - t);
	}
	show(&c1), show(&c2), show(&c3), show(&c4), show(&c5), show(&c6), show(&c7), show(&c8);

	head("pieces: netns death (last reference closed -> outer veth end gone)");
	int ev = event_socket();
	drain(ev);
	int half = n / 2;
	struct series d1 = { "one netns at a time" };
	struct series d2 = { "  close() of the last reference itself" };
	for (int i = 0; i < half; i++) {
		uint64_t t = now();
		close(ns[i]);
		push(&d2, now() - t);
		push(&d1, wait_gone(ev, 1) - t);
		settle(100); /* let the rest of cleanup_net finish */
	}
	show(&d1), show(&d2);
	uint64_t t = now();
	for (int i = half; i < n; i++)
		close(ns[i]);
	uint64_t g = wait_gone(ev, n - half) - t;
	printf("%-44s %6d namespaces at once: %.1f us in all, %.1f us each\n", "batch", n - half, g / 1e3, g / 1e3 / (n - half));
	close(ev);
	settle(500);

	struct series f = { "unshare NEWNET while the last one is dying" };
	for (int i = 0; i < n; i++) {
		uint64_t t2 = now();
		if (unshare(CLONE_NEWNET) < 0)
			die("unshare net");
		push(&f, now() - t2);
	}
	setns(self_netns, CLONE_NEWNET);
	show(&f);
	settle(500);

	/* group delete: many veths in one RTM_DELLINK */
	int m = n < 50 ? n : 50, grp = 7777;
	for (int i = 0; i < m; i++)
		ns[i] = new_netns();
	setns(self_netns, CLONE_NEWNET);
	for (int i = 0; i < m; i++) {
		snprintf(nm, sizeof nm, "pz%d", i);
		struct req r = { .len = 0 };
		q_veth(&r, nm, "eth0", ns[i], br_index, 1, grp);
		if ((e = nl_do(nl, &r, 1)))
			errno = -e, die("veth group");
	}
	struct req r = { .len = 0 };
	struct ifinfomsg ifi = { 0 };
	msg(&r, RTM_DELLINK, 0, &ifi, sizeof ifi);
	attr(&r, IFLA_GROUP, &grp, 4);
	t = now();
	e = nl_do(nl, &r, 1);
	g = now() - t;
	if (e)
		errno = -e, die("group delete");
	printf("%-44s %6d veths in one RTM_DELLINK: %.1f us in all, %.1f us each\n", "group delete", m, g / 1e3, g / 1e3 / m);
	for (int i = 0; i < m; i++)
		close(ns[i]);
	settle(500);
	free(ns);

	head("pieces: mounts (in a private mount namespace)");
	char up[300], wk[300], tg[300];
	snprintf(up, sizeof up, "%s/q.u", opt_dir);
	snprintf(wk, sizeof wk, "%s/q.w", opt_dir);
	snprintf(tg, sizeof tg, "%s/q.m", opt_dir);
	mkdir(up, 0755), mkdir(wk, 0700), mkdir(tg, 0755);
	fflush(stdout);
	int pid = sys_clone(CLONE_NEWNS);
	if (!pid) {
		struct series o1 = { "overlay: fsopen..fsmount+move_mount" }, o2 = { "  umount it" };
		struct series p1 = { "proc mount" }, p2 = { "  umount it" }, q1 = { "tmpfs mount" }, q2 = { "  umount it" };
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		for (int i = 0; i < n; i++) {
			uint64_t t1 = now();
			int fs = syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
			syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0);
			syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "upperdir", up, 0);
			syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "workdir", wk, 0);
			if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
				CDIE("overlay");
			int mfd = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
			if (syscall(SYS_move_mount, mfd, "", AT_FDCWD, tg, MOVE_MOUNT_F_EMPTY_PATH) < 0)
				CDIE("move_mount");
			close(mfd), close(fs);
			push(&o1, now() - t1);
			t1 = now();
			if (umount2(tg, 0) < 0)
				CDIE("umount");
			push(&o2, now() - t1);
			t1 = now();
			if (mount("proc", tg, "proc", 0, NULL) < 0)
				CDIE("proc");
			push(&p1, now() - t1);
			t1 = now();
			umount2(tg, 0);
			push(&p2, now() - t1);
			t1 = now();
			if (mount("tmpfs", tg, "tmpfs", 0, "mode=755") < 0)
				CDIE("tmpfs");
			push(&q1, now() - t1);
			t1 = now();
			umount2(tg, 0);
			push(&q2, now() - t1);
		}
		show(&o1), show(&o2), show(&p1), show(&p2), show(&q1), show(&q2);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	int d = open(opt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rmrf_at(d, "q.u"), rmrf_at(d, "q.w"), rmrf_at(d, "q.m");
	close(d);

	head("pieces: cgroups (not part of the floor; what each one would add)");
	static const char *roots[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu",
				       "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/devices", "/sys/fs/cgroup/unified" };
	for (unsigned j = 0; j < sizeof roots / sizeof *roots; j++) {
		char cg[300], l1[80], l2[80], l3[80], l4[80];
		if (access(roots[j], F_OK))
			continue;
		const char *base = strrchr(roots[j], '/') + 1;
		snprintf(cg, sizeof cg, "%s/floor-q", roots[j]);
		snprintf(l1, sizeof l1, "%s: mkdir", base);
		snprintf(l2, sizeof l2, "  attach a process (cgroup.procs)");
		snprintf(l3, sizeof l3, "  rmdir");
		snprintf(l4, sizeof l4, "  clone3 CLONE_INTO_CGROUP (+exit+wait)");
		struct series m1 = { l1 }, m2 = { l2 }, m3 = { l3 }, m4 = { l4 };
		for (int i = 0; i < n; i++) {
			uint64_t t1 = now();
			if (mkdir(cg, 0755) < 0)
				die("mkdir %s", cg);
			push(&m1, now() - t1);
			int pfd[2];
			char x;
			if (pipe2(pfd, O_CLOEXEC) < 0)
				die("pipe");
			int cp = sys_clone(0);
			if (!cp) {
				close(pfd[1]);
				if (read(pfd[0], &x, 1) < 0)
					_exit(1);
				_exit(0);
			}
			char pn[16];
			snprintf(pn, sizeof pn, "%d", cp);
			t1 = now();
			wfile(cg, "cgroup.procs", pn);
			push(&m2, now() - t1);
			close(pfd[0]), close(pfd[1]);
			waitpid(cp, NULL, 0);
			if (!strcmp(base, "unified")) {
				int cfd = open(cg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
				struct clone_args ca = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cfd };
				t1 = now();
				cp = syscall(SYS_clone3, &ca, sizeof ca);
				if (!cp)
					_exit(0);
				if (cp > 0) {
					waitpid(cp, NULL, 0);
					push(&m4, now() - t1);
				}
				close(cfd);
			}
			t1 = now();
			if (rmdir(cg) < 0)
				die("rmdir %s", cg);
			push(&m3, now() - t1);
		}
		show(&m1), show(&m2), show(&m4), show(&m3);
	}
}

/* ------------------------------------------------------------------- main */

static void usage(void)
{
	fputs("usage: floor [options]\n"
	      "  -n N     pods (default 50): in series, or with -k all up at once\n"
	      "  -k       keep all N up at once, then take them all down\n"
	      "  -m       memory per pod (implies -k): /proc/meminfo deltas and PSS\n"
	      "  -p       the kernel's pieces instead: namespaces, links, mounts, cgroups\n"
	      "  -e       restart of a killed container, and an exec probe, N times each\n"
	      "  -c C     containers in a pod (default 2)\n"
	      "  -b BR    bridge (default flr0; made if missing, and then removed)\n"
	      "  -d DIR   scratch directory (default /tmp/floor.d, removed at the end)\n"
	      "  -t       tmpfs on DIR: upper layers in memory, not on disk\n"
	      "  -v       overlay mounted \"volatile\": no sync of the upper layer at umount\n"
	      "  -s MS    wait between pods in series so a netns's death is over (default 20)\n"
	      "  -o       down: delete the veth while the processes die, then reap\n"
	      "  -a       down: do not delete the veth; the netns's death takes it\n"
	      "  -S       start containers one after the other, not in parallel\n"
	      "  -6       no IPv6 link-local address on either end\n"
	      "  -V       clone containers with CLONE_VM\n"
	      "  -r       print raw samples;  -q  less output\n"
	      "  -i       obey lines on standard input: up N, down N, restart N, exec N, plain\n"
	      "  -g NET   the pods' network, a /16 (default 10.244.0.0)\n"
	      "  -x FILE  static program that has the names sleep and true (default /bin/busybox)\n"
	      "  -D NAME  delete a link and leave\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	int o;
	const char *delete = NULL;
	while ((o = getopt(argc, argv, "n:kmpec:b:d:ts:oavS6Vrqig:x:D:")) != -1)
		switch (o) {
		case 'i': opt_serve = 1; break;
		case 'g': opt_net = optarg; break;
		case 'x': opt_program = optarg; break;
		case 'D': delete = optarg; break;
		case 'n': opt_n = atoi(optarg); break;
		case 'k': opt_keep = 1; break;
		case 'm': opt_mem = opt_keep = 1; break;
		case 'p': opt_pieces = 1; break;
		case 'e': opt_restart = 1; break;
		case 'c': opt_ctrs = atoi(optarg); break;
		case 'b': opt_bridge = optarg; break;
		case 'd': opt_dir = optarg; break;
		case 't': opt_tmpfs = 1; break;
		case 's': opt_settle_ms = atoi(optarg); break;
		case 'o': opt_vethfirst = 1; break;
		case 'a': opt_async = 1; break;
		case 'v': opt_volatile = 1; break;
		case 'S': opt_serial = 1; break;
		case '6': opt_no6 = 1; break;
		case 'V': opt_vm = 1; break;
		case 'r': opt_raw = 1; break;
		case 'q': opt_quiet = 1; break;
		default: usage();
		}
	if (opt_n < 1 || opt_n > MAXPODS || opt_ctrs < 1 || opt_ctrs > MAXC)
		usage();
	if (geteuid())
		errno = EPERM, die("root only");
	self_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	shm = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (self_netns < 0 || shm == MAP_FAILED)
		die("setup");
	int nl = nl_open();
	if (delete) {
		int e = link_del(nl, delete);
		if (e)
			errno = -e, die("delete %s", delete);
		return 0;
	}
	bridge_setup(nl);
	rootfs_setup();

	if (opt_pieces) {
		pieces(nl);
		goto out;
	}
	if (opt_restart) {
		restarts(nl);
		goto out;
	}
	if (opt_serve) {
		serve(nl);
		goto out;
	}

	struct pod *pods = calloc(opt_n, sizeof *pods);
	struct pod warm = { .id = 60000 % 999 + 1 };
	pod_up(&warm, nl); /* warm-up, not counted */
	pod_down(&warm, nl);
	struct series *all[] = { &s_clone, &s_veth, &s_addr, &s_prep, &s_cclone, &s_cstart, &s_join, &s_ovl, &s_pivot,
				 &s_proc, &s_dev, &s_exec, &s_ctrs, &s_up, &s_kill, &s_vdel, &s_rm, &s_down };
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		all[i]->n = 0;
	settle(300);

	if (!opt_keep) {
		for (int i = 0; i < opt_n; i++) {
			pods[i].id = i;
			pod_up(&pods[i], nl);
			settle(opt_settle_ms);
			pod_down(&pods[i], nl);
			settle(opt_settle_ms);
		}
	} else {
		long m0[NMEM] = { 0 }, m1[NMEM] = { 0 };
		if (opt_mem) {
			mem_quiesce();
			meminfo(m0);
		}
		uint64_t t0 = now();
		for (int i = 0; i < opt_n; i++) {
			pods[i].id = i;
			pod_up(&pods[i], nl);
		}
		uint64_t t1 = now();
		printf("%d pods up at once (%d containers each): %.1f ms in all; first %.2f ms, last %.2f ms\n", opt_n,
		       opt_ctrs, (t1 - t0) / 1e6, pods[0].t_up / 1e6, pods[opt_n - 1].t_up / 1e6);
		if (opt_mem) {
			long pss = 0, sb = 0;
			mem_quiesce();
			meminfo(m1);
			for (int i = 0; i < opt_n; i++) {
				for (int c = 0; c < opt_ctrs; c++)
					pss += pss_kb(pods[i].ctr[c]);
				sb += pss_kb(pods[i].sandbox);
			}
			printf("per pod, KiB, of /proc/meminfo:");
			for (int i = 0; i < NMEM; i++)
				printf(" %s %+.1f;", memkeys[i], (double)(m1[i] - m0[i]) / opt_n);
			printf("\nper pod, KiB: PSS of containers %.1f, of the sandbox process %.1f\n",
			       (double)pss / opt_n, (double)sb / opt_n);
		}
		uint64_t t2 = now();
		for (int i = 0; i < opt_n; i++)
			pod_down(&pods[i], nl);
		uint64_t t3 = now();
		printf("%d pods down: %.1f ms in all; first %.2f ms, last %.2f ms\n", opt_n, (t3 - t2) / 1e6,
		       pods[0].t_down / 1e6, pods[opt_n - 1].t_down / 1e6);
	}
	if (!opt_quiet) {
		head(opt_keep ? "phases (all kept up)" : "phases (in series)");
		for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
			show(all[i]);
	} else {
		show(&s_up);
		show(&s_down);
	}
	settle(300);
out:
	if (br_made)
		link_del(nl, opt_bridge);
	if (opt_tmpfs)
		umount2(opt_dir, MNT_DETACH);
	rmrf_at(AT_FDCWD, opt_dir);
	return 0;
}
