// SPDX-License-Identifier: Apache-2.0
// What a program on GKE does with Google's library for Node; the result is one line of JSON.
import { GoogleAuth } from "google-auth-library";

const auth = new GoogleAuth({ scopes: ["https://www.googleapis.com/auth/cloud-platform"] });
const client = await auth.getClient();
const project = await auth.getProjectId();
const { client_email: account } = await auth.getCredentials();
const url = `https://storage.googleapis.com/storage/v1/b?project=${project}`;
const { status } = await client.request({ url, validateStatus: () => true });
const headers = await (await auth.getIdTokenClient(process.argv[2])).getRequestHeaders();
const claims = JSON.parse(Buffer.from(headers.get("authorization").split(".")[1], "base64url"));
console.log(JSON.stringify([client.constructor.name, project, account, status, claims.aud, claims.email]));
