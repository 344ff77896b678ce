/* The addresses of each name, a line a name: what a program's own C library finds. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **names) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *one;
    char text[INET6_ADDRSTRLEN];
    for (int i = 1; i < count; i++) {
        int error = getaddrinfo(names[i], NULL, &hints, &found);
        printf("%s:", names[i]);
        if (error) {
            printf(" %s", error == EAI_NONAME ? "no name" : gai_strerror(error));
        } else {
            for (one = found; one; one = one->ai_next) {
                getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
                printf(" %s", text);
            }
            freeaddrinfo(found);
        }
        printf("\n");
    }
    return 0;
}
