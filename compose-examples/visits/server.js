const express = require('express');
const redis = require('redis');

const client = redis.createClient({ host: 'redis' });
const app = express();

app.get('/', (_request, response) => {
  client.incr('visits', (error, visits) => {
    if (error) return response.status(503).send(`${error}\n`);
    return response.send(`Number of visits: ${visits}\n`);
  });
});

app.listen(8081, () => console.log('listening on 8081'));
