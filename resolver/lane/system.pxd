# What of Linux the lane calls (recvmmsg(2), sendmmsg(2), pthread_mutex_lock(3), clock_gettime(2)).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <pthread.h>
    #include <time.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <string.h>
    #include <unistd.h>
    #include <sys/epoll.h>
    #include <sys/random.h>
    #define lane_prefetch(p) __builtin_prefetch(p)
    #define lane_load16(p) ((uint16_t)((p)[0] << 8 | (p)[1]))
    """
    void lane_prefetch(const void *) noexcept nogil
    uint16_t lane_load16(const uint8_t *) noexcept nogil

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *, size_t, unsigned int)

cdef extern from "<sys/epoll.h>" nogil:
    cdef union epoll_data:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)
    int EPOLLIN, EPOLL_CTL_ADD, EPOLL_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    int close(int)

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    cdef struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    cdef struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cdef struct sockaddr_storage:
        unsigned short ss_family
    cdef struct timespec_ "timespec":
        long tv_sec
        long tv_nsec
    int recvmmsg(int, mmsghdr *, unsigned int, int, timespec_ *)
    int sendmmsg(int, mmsghdr *, unsigned int, int)
    ssize_t send(int, const void *, size_t, int)
    ssize_t recv(int, void *, size_t, int)
    int socket(int, int, int)
    cdef struct sockaddr:
        pass
    int bind(int, const sockaddr *, socklen_t)
    int connect(int, const sockaddr *, socklen_t)
    int MSG_WAITFORONE, MSG_DONTWAIT, MSG_TRUNC, AF_INET, AF_INET6, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC
    cmsghdr *CMSG_FIRSTHDR(msghdr *)
    cmsghdr *CMSG_NXTHDR(msghdr *, cmsghdr *)
    unsigned char *CMSG_DATA(cmsghdr *)

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_pktinfo:
        int ipi_ifindex
    int IPPROTO_IP, IP_PKTINFO

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)

cdef extern from "<time.h>" nogil:
    int CLOCK_MONOTONIC
    int clock_gettime(int, timespec_ *)

cdef extern from "<errno.h>" nogil:
    int errno, EINTR, EAGAIN


cdef inline double monotonic() noexcept nogil:
    """Seconds of the clock that Python's time.monotonic reads."""
    cdef timespec_ moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return moment.tv_sec + moment.tv_nsec * 1e-9
