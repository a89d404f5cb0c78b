const http = require('http');
const redis = require('redis');

const client = redis.createClient({ host: process.env.REDIS });

http.createServer((request, response) => {
  if (request.url === '/health') return response.end('ok');
  const key = request.url.slice(1);
  if (request.method === 'PUT') {
    let body = '';
    request.on('data', (part) => { body += part; });
    return request.on('end', () => client.set(key, body, () => response.end()));
  }
  return client.get(key, (_error, value) => response.end(value || ''));
}).listen(8084);
