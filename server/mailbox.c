#include "config.h"

#include "server/mailbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "server/http/server.h"
#include "server/teep/domain.h"
#include "server/teep/published.h"

struct mailbox {
	pthread_mutex_t lock;
	int fd;
	struct mail *first, **last;
};

struct mailbox *
mailbox_new(void)
{
	struct mailbox *m = mem_new(struct mailbox);

	(void)pthread_mutex_init(&m->lock, NULL);
	m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (m->fd < 0)
		abort();
	m->last = &m->first;
	return m;
}

void
mailbox_free(struct mailbox *m)
{
	struct mail *mail, *next;

	if (m == NULL)
		return;
	for (mail = m->first; mail != NULL; mail = next) {
		next = mail->next;
		snapshot_unref(mail->snapshot);
		published_unref(mail->published);
		http_tls_free(mail->tls);
		free(mail);
	}
	(void)close(m->fd);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

int
mailbox_fd(const struct mailbox *m)
{
	return m->fd;
}

void
mailbox_send(struct mailbox *m, const struct mail *mail)
{
	struct mail *copy = mem_new(struct mail);
	uint64_t one = 1;

	*copy = *mail;
	copy->next = NULL;
	(void)pthread_mutex_lock(&m->lock);
	*m->last = copy;
	m->last = &copy->next;
	(void)pthread_mutex_unlock(&m->lock);
	if (write(m->fd, &one, sizeof(one)) < 0)
		return; /* full: the reader is awake already */
}

struct mail *
mailbox_take(struct mailbox *m)
{
	struct mail *all;
	uint64_t n;

	if (read(m->fd, &n, sizeof(n)) < 0)
		n = 0; /* nothing new; what is there is taken all the same */
	(void)pthread_mutex_lock(&m->lock);
	all = m->first;
	m->first = NULL;
	m->last = &m->first;
	(void)pthread_mutex_unlock(&m->lock);
	return all;
}
