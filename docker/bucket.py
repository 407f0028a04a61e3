"""Make the bucket S3_BUCKET where it is not there yet; endpoint and credentials as boto3 reads them."""

import os

import boto3
from botocore.exceptions import ClientError

if __name__ == "__main__":
    name, store = os.environ["S3_BUCKET"], boto3.client("s3")
    try:
        store.head_bucket(Bucket=name)
        print(f"{name}: is there")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise SystemExit(f"{name}: {error.response['Error']['Code']}") from None
        store.create_bucket(Bucket=name)
        print(f"{name}: made")
